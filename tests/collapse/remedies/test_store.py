"""Answers that are kept: on the disk at once, never asked for twice, whatever dies."""

import json

import pytest

from analysis import tables
from analysis.collapse.remedies import store
from analysis.collapse.remedies.store import JOURNAL, Answers, Request
from analysis.outputs import Outputs

REQUESTS = [Request.of("chat", "m", {"body": {"text": f"né {i}"}, "number": i}) for i in range(4)]


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path)


def test_answers_are_found_again(outputs: Outputs):
    with store.opened(outputs) as answers:
        for request in REQUESTS[:2]:
            answers.add(request, f"to {request.values['number']}")
        assert answers.get(REQUESTS[0]) == "to 0"
    with store.opened(outputs) as answers:
        answers.find(REQUESTS)
        assert [answers.get(r) for r in REQUESTS] == ["to 0", "to 1", None, None]
        assert answers.n_asked == 0
        answers.add(REQUESTS[2], "to 2")
    found = tables.read("answers", outputs.root)
    assert len(found) == 3
    assert not (outputs.root / JOURNAL).exists()
    assert json.loads(found["request"].iloc[0])["body"]["text"].startswith("né")


def test_what_a_killed_run_has_left_is_kept_but_for_a_torn_line(outputs: Outputs):
    killed = Answers(outputs)
    for request in REQUESTS[:3]:
        killed.add(request, "yes")
    journal = outputs.root / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-10])
    with store.opened(outputs) as answers:
        assert [answers.get(r) for r in REQUESTS] == ["yes", "yes", None, None]


def test_a_line_that_was_changed_is_no_answer(outputs: Outputs):
    killed = Answers(outputs)
    killed.add(REQUESTS[0], "yes")
    journal = outputs.root / JOURNAL
    journal.write_text(journal.read_text().replace('"chat"', '"chet"') + "[]\n{}\nnull\n")
    with store.opened(outputs) as answers:
        assert answers.get(REQUESTS[0]) is None


def test_a_run_killed_between_the_table_and_its_journal_keeps_each_answer_once(outputs: Outputs):
    answers = Answers(outputs)
    answers.add(REQUESTS[0], "yes")
    journal = (outputs.root / JOURNAL).read_bytes()
    answers.settle()
    (outputs.root / JOURNAL).write_bytes(journal)
    with store.opened(outputs):
        pass
    assert len(tables.read("answers", outputs.root)) == 1


def test_of_two_answers_to_one_request_the_first_is_everybody_s(outputs: Outputs):
    with store.opened(outputs) as answers:
        assert [answers.add(REQUESTS[0], told) for told in ("first", "second")] == ["first", "first"]
        assert (answers.get(REQUESTS[0]), answers.n_asked) == ("first", 1)
    assert Answers(outputs).get(REQUESTS[0]) == "first"


def test_the_order_of_answers_decides_nothing(tmp_path):
    found = []
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        outputs = Outputs(tmp_path / name)
        outputs.root.mkdir()
        with store.opened(outputs) as answers:
            for i in order:
                answers.add(REQUESTS[i], f"to {i}")
        (path,) = (outputs.root / "answers").glob("*.parquet")
        found.append((path.name, path.read_bytes()))
    assert found[0] == found[1]


def test_the_content_decides_who_is_the_same():
    one, other = (Request.of("chat", "m", dict(pairs)) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert one.id == other.id
    assert one.id != Request.of("chat", "n", {"a": 1, "b": 2}).id

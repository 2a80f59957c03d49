"""Examples: the extremes of what the tables bear out, shown as they are and with nothing of theirs taken for markup."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import pytest

from analysis import tables
from analysis.outputs import Outputs
from analysis.report import examples as module
from analysis.report import words
from analysis.report.examples import STEPS, Example, Piece, examples, visible
from analysis.schemas import TABLES
from tests.test_tables import filled

CELL = ("pairs", "tiny", "0a")
OTHER_CELL = ("pairs", "large", "0b")
HOSTILE = "<script>alert(1)</script> *b* [y](javascript:z) | `x`"


def pair(name: str, difference: float, agrees: bool = True, **more: Any) -> dict[str, Any]:
    """A comparison as it is made up: a is more typical by `difference`, and preferred if that agrees."""
    return {"name": name, "difference": difference, "agrees": agrees, "prompt_id": f"p-{name}", "n": 10} | more


def write(root: Path, pairs: list[dict[str, Any]], *, tokens: bool = False, swap: bool = False) -> Outputs:
    """The tables of a study of one dataset and base model."""
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for p in pairs:
        sides = {"a": f"{p['name']}-typical", "b": f"{p['name']}-strange"}
        sums = {sides["a"]: (p["difference"] - 4.0) * p["n"], sides["b"]: -4.0 * p["n"]}
        preferred = "a" if p["agrees"] else "b"
        known = {"study": "made", "dataset": CELL[0], "comparison_id": p["name"], "prompt_id": p["prompt_id"]}
        for response_id, total in sums.items():
            scored = {"response_id": response_id, "prompt_id": p["prompt_id"], "scoring_id": CELL[2]}
            prompt = p.get("prompt", [{"role": "user", "content": f"Prompt {p['name']}?"}])
            text = p.get("text", f"one two three {response_id}")
            row = {"prompt": prompt, "response": text, "source": p.get("source")}
            made["responses"].append(filled(TABLES["responses"], **scored | row))
            made["scores"].append(filled(TABLES["scores"], **scored, sum_logprob=total, n_tokens=p["n"]))
            ends, logprobs = p.get("ends", [3, 7, 13]), p.get("logprobs", [-0.5, -3.0, -9.0])
            row = {"token_ends": ends, "token_logprobs": logprobs, "conditional": True}
            made["token_logprobs"].append(filled(TABLES["token_logprobs"], **scored | row))
        difference = p["difference"]
        if swap:
            sides = {"a": sides["b"], "b": sides["a"]}
            preferred, difference = "ba"["ab".index(preferred)], -difference
        responses = {"response_a": sides["a"], "response_b": sides["b"], "preference": preferred}
        made["comparisons"].append(filled(TABLES["comparisons"], **known, **responses))
        typical = "a" if difference > 0 else "b"
        measured = {"measure": "mean_logprob", "base_model": CELL[1], "difference": difference, "typical": typical}
        made["differences"].append(filled(TABLES["differences"], **known, **measured, agrees=p["agrees"]))
    for name in ("comparisons", "differences"):
        tables.write(root / name / "made.parquet", name, made[name])
    tables.write(root / "responses" / "r.parquet", "responses", made["responses"])
    for name in ("scores", "token_logprobs") if tokens else ("scores",):
        tables.write(root / name / f"{CELL[2]}-1.parquet", name, made[name])
    return Outputs(root)


def of(outputs: Outputs, each: int = 2) -> list[Example]:
    return examples(outputs, "made", [CELL], "mean_logprob", each)


def names(found: list[Example]) -> list[tuple[str, str]]:
    return [(e.kind, e.comparison_id) for e in found]


def one(root: Path, **more: Any) -> Example:
    """The example of a study of one comparison, with tokens."""
    (found,) = of(write(root, [pair("x", 1.0, **more)], tokens=True))
    return found


def rendered(name: str, found: list[Example]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report", "templates"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": words.fixed, "md": words.markdown}
    return environment.get_template(name).render(examples=found)


MANY = [pair(f"{i:02}", 0.1 * i, agrees=i % 3 > 0) for i in range(1, 31)]


class TestChoice:
    def test_the_extremes_of_both_kinds(self, tmp_path: Path) -> None:
        found = of(write(tmp_path, MANY))
        assert names(found) == [("agrees", "29"), ("agrees", "28"), ("clashes", "30"), ("clashes", "27")]
        assert [e.difference for e in found] == pytest.approx([2.9, 2.8, -3.0, -2.7])
        assert found[0].preferred.mean_logprob == pytest.approx(-1.1)
        assert found[0].preferred.text.endswith("29-typical")
        assert found[2].preferred.text.endswith("30-strange")

    def test_few_at_a_time_are_held_and_nothing_changes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        outputs = write(tmp_path, MANY)
        whole = of(outputs)
        monkeypatch.setattr(module, "POOL", 2)
        assert of(outputs) == whole

    def test_equal_differences_in_the_order_of_ids(self, tmp_path: Path) -> None:
        pairs = [pair(name, 1.0) for name in "dcba"]
        assert names(of(write(tmp_path / "1", pairs))) == [("agrees", "a"), ("agrees", "b")]
        assert of(write(tmp_path / "2", pairs[::-1])) == of(Outputs(tmp_path / "1"))

    def test_whichever_response_stands_first(self, tmp_path: Path) -> None:
        assert of(write(tmp_path / "1", MANY, tokens=True)) == of(write(tmp_path / "2", MANY, tokens=True, swap=True))

    def test_one_a_prompt(self, tmp_path: Path) -> None:
        same = {"prompt_id": "p"}
        pairs = [pair("a", 5.0, **same), pair("b", 4.0, **same), pair("c", 3.0, False, **same), pair("d", 2.0)]
        assert names(of(write(tmp_path, pairs))) == [("agrees", "a"), ("agrees", "d")]

    @pytest.mark.parametrize(("n_long", "wanted"), [(3, ["l0", "l1"]), (1, ["s0", "s1"])])
    def test_short_responses_only_where_others_are_too_few(
        self, tmp_path: Path, n_long: int, wanted: list[str]
    ) -> None:
        short = [pair(f"s{i}", 9.0 - i, n=2) for i in range(3)]
        long = [pair(f"l{i}", 3.0 - i, n=8) for i in range(n_long)]
        assert [e.comparison_id for e in of(write(tmp_path, short + long))] == wanted

    def test_cells_in_their_order(self, tmp_path: Path) -> None:
        outputs = write(tmp_path, MANY)
        assert examples(outputs, "made", [OTHER_CELL, CELL], "mean_logprob") == of(outputs)
        assert not examples(outputs, "made", [CELL], "mean_pmi")


class TestWhatIsNotThere:
    def test_nothing_at_all(self, tmp_path: Path) -> None:
        assert of(Outputs(tmp_path)) == []
        assert examples(Outputs(tmp_path), "made", [], "mean_logprob") == []

    def test_a_study_of_no_comparisons(self, tmp_path: Path) -> None:
        assert of(write(tmp_path, [])) == []

    @pytest.mark.parametrize("name", ["comparisons", "differences", "responses", "scores"])
    def test_a_table(self, tmp_path: Path, name: str) -> None:
        outputs = write(tmp_path, MANY, tokens=True)
        for path in tables.files(name, tmp_path):
            path.unlink()
        assert of(outputs) == []

    def test_no_tokens(self, tmp_path: Path) -> None:
        found = of(write(tmp_path, MANY))
        assert {len(side.pieces) for e in found for side in (e.preferred, e.other)} == {1}
        assert not any(e.coloured for e in found)
        assert "Surprisal" not in rendered("examples.html.j2", found)

    def test_the_text_of_one(self, tmp_path: Path) -> None:
        outputs = write(tmp_path, MANY)
        path = tmp_path / "responses" / "r.parquet"
        rows = [r for r in tables.scan("responses", [path]).to_pylist() if r["response_id"] != "29-strange"]
        tables.write(path, "responses", rows)
        assert ("agrees", "29") not in names(of(outputs))

    def test_differences_of_another_run(self, tmp_path: Path) -> None:
        outputs = write(tmp_path, MANY)
        path = tmp_path / "scores" / f"{CELL[2]}-1.parquet"
        rows = tables.scan("scores", [path]).to_pylist()
        changed = [r | {"sum_logprob": r["sum_logprob"] - (r["response_id"] == "29-strange")} for r in rows]
        tables.write(path, "scores", changed)
        assert names(of(outputs))[:2] == [("agrees", "28"), ("agrees", "26")]


class TestTokens:
    def test_each_is_a_piece(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="one two three")
        assert found.preferred.pieces == (Piece("one", 0.5), Piece(" two", 3.0), Piece(" three", 9.0))
        assert [piece.step for piece in found.preferred.pieces] == [0, 2, 5]

    def test_a_first_token_that_begins_in_the_prompt_counts_whole(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="ne two", ends=[2, 6], logprobs=[-7.0, -1.0])
        assert found.preferred.pieces == (Piece("ne", 7.0), Piece(" two", 1.0))

    def test_tokens_of_one_character_are_one_piece(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="🙂 ok", ends=[1, 1, 1, 4], logprobs=[-2.0, -1.0, -0.5, -0.25])
        assert found.preferred.pieces == (Piece("🙂", 3.5), Piece(" ok", 0.25))

    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("one two three four", (Piece("one", 0.5), Piece(" two", 3.0), Piece(" three", 9.0), Piece(" four"))),
            ("one two", (Piece("one", 0.5), Piece(" two", 12.0))),
        ],
    )
    def test_a_text_longer_or_shorter_than_its_tokens(
        self, tmp_path: Path, text: str, pieces: tuple[Piece, ...]
    ) -> None:
        assert one(tmp_path, text=text).preferred.pieces == pieces

    def test_a_certain_token_and_no_number(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="one two", ends=[3, 7], logprobs=[-0.0, float("nan")])
        assert [str(piece.surprisal) for piece in found.preferred.pieces] == ["0.0", "None"]


class TestCutting:
    def test_a_response_at_a_token(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="abcdefg" * 200, ends=list(range(7, 1401, 7)), logprobs=[-1.0] * 200)
        assert found.preferred.text == "abcdefg" * 71
        assert found.preferred.more == 1400 - 497
        assert "903 more characters" in rendered("examples.html.j2", [found])

    @pytest.mark.parametrize(("text", "shown"), [("word " * 200, ("word " * 100)[:-1]), ("x" * 700, "x" * 500)])
    def test_a_response_without_tokens_at_a_word(self, tmp_path: Path, text: str, shown: str) -> None:
        (found,) = of(write(tmp_path, [pair("x", 1.0, text=text)]))
        assert found.preferred.text == shown
        assert found.preferred.more == len(text) - len(shown)

    def test_many_lines(self, tmp_path: Path) -> None:
        assert one(tmp_path, text="one\n" * 100, ends=[], logprobs=[]).preferred.text == ("one\n" * 20)[:-1]

    def test_a_prompt_from_its_left(self, tmp_path: Path) -> None:
        found = one(tmp_path, prompt=[{"role": "user", "content": "word " * 200 + "end?"}])
        (turn,) = found.prompt
        assert turn.text.startswith("… word ")
        assert turn.text.endswith(" end?")
        assert 250 < len(turn.text) <= 302

    def test_the_last_turns_with_their_roles(self, tmp_path: Path) -> None:
        turns = [{"role": ("user", "assistant")[i % 2], "content": f"turn {i}"} for i in range(5)]
        found = one(tmp_path, prompt=turns)
        assert [(t.role, t.text) for t in found.prompt] == [
            ("user", "turn 2"),
            ("assistant", "turn 3"),
            ("user", "turn 4"),
        ]
        assert found.earlier == 2
        assert "after 2 earlier messages" in rendered("examples.html.j2", [found])

    def test_no_prompt(self, tmp_path: Path) -> None:
        found = one(tmp_path, prompt=[])
        assert found.prompt == ()
        assert rendered("examples.md.j2", [found])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nécole 東京 שלום 🙂", "plain\ttext\nécole 東京 שלום 🙂"),
        ("a\u202eb\u2069", "a⟨U+202E⟩b⟨U+2069⟩"),
        ("a\x00\x1b[0m\r\nb\x85\x7f", "a␀␛[0m\nb⟨U+0085⟩⟨U+007F⟩"),
        ("\ufeff\u2028", "⟨U+FEFF⟩⟨U+2028⟩"),
        ("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"),
    ],
)
def test_nothing_hides_or_turns_the_text(text: str, shown: str) -> None:
    assert visible(text) == shown


class TestPages:
    @pytest.fixture
    def hostile(self, tmp_path: Path) -> list[Example]:
        turns = [{"role": HOSTILE, "content": HOSTILE}, {"role": "user", "content": HOSTILE}]
        ends, logprobs = [4, 9, len(HOSTILE)], [-1.5, -0.1, -20.0]
        return [one(tmp_path, text=HOSTILE, prompt=turns, source=HOSTILE, ends=ends, logprobs=logprobs)]

    def test_html_is_escaped_and_closed(self, hostile: list[Example]) -> None:
        page = rendered("examples.html.j2", hostile)
        assert "<script" not in page
        assert "&lt;scr" in page
        assert re.findall(r"<details[^>]*>", page) == ["<details>"]
        assert '<span class="ex-s5" title="20.0">' in page

    def test_markdown_is_escaped(self, hostile: list[Example]) -> None:
        page = rendered("examples.md.j2", hostile)
        assert "<script" not in page
        assert not re.search(r"(?<!\\)\]\(javascript|(?<!\\)\*b", page)

    def test_elements_are_closed_over_cells(self, tmp_path: Path) -> None:
        found = of(write(tmp_path, MANY, tokens=True))
        both = found + [Example(**vars(e) | {"base_model": "large"}) for e in found]
        page = rendered("examples.html.j2", both)
        for tag in ("section", "details", "figure", "div", "span", "p", "bdi"):
            assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>") > 0
        assert page.count("<details>") == rendered("examples.md.j2", both).count("### ") == 2

    def test_nothing_where_there_are_none(self) -> None:
        assert not rendered("examples.html.j2", []).strip()
        assert not rendered("examples.md.j2", []).strip()

    def test_line_breaks_stay_and_a_token_of_them_can_be_seen(self, tmp_path: Path) -> None:
        found = one(tmp_path, text="one\n\nthree", ends=[3, 5, 10])
        assert ' ex-line" title="3.0">\n\n</span>' in rendered("examples.html.j2", [found])

    def test_the_legend_tells_the_steps(self, tmp_path: Path) -> None:
        legend = re.findall(r'<span class="ex-s(\d)">([^<]*)<', rendered("examples.html.j2", [one(tmp_path)]))
        between = [f"{low:g} to {high:g}" for low, high in pairwise(STEPS)]
        told = [f"under {STEPS[0]:g}", *between, f"{STEPS[-1]:g} and more"]
        assert legend == [(str(i), text) for i, text in enumerate(told)]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("theme", "ink", "rising"), [(0, "#1a1d21", False), (1, "#e8eaed", True)])
def test_text_is_legible_on_every_step(theme: int, ink: str, rising: bool) -> None:
    css = rendered("examples.css.j2", [])
    colours = dict(re.findall(r"--ex-(\w+): (#\w{6})", re.findall(r"\.ex-cells \{([^}]*)\}", css)[theme]))
    steps = [luminance(colours[str(i)]) for i in range(1, 6)]
    texts = [luminance(ink)] * 4 + [luminance(colours["top"])]
    for step, text in zip(steps, texts, strict=True):
        assert (max(step, text) + 0.05) / (min(step, text) + 0.05) >= 4.5
    assert steps == sorted(steps, reverse=not rising)

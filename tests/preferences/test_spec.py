"""What a study may say of a dataset, and the sentence for each thing it may not."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from analysis.errors import StudyError
from analysis.preferences.catalogue import entries
from analysis.preferences.spec import CatalogueDataset, DatasetSpec, OwnDataset, canonical
from tests.preferences.made import BINARY, GRADED, NESTED, PAIRS, RANKED, own

SIGNED = {**PAIRS, "values": None, "positive": "b"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" 1 ", "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ("true", "true"),
        ("True", "true"),  # how pandas writes it to CSV
        ("A", "A"),
        ("007", "007"),
        ("1e5", "1e5"),
    ],
)
def test_a_label_is_one_value_however_it_was_stored(value: Any, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize("shape", [PAIRS, SIGNED, BINARY, {**BINARY, "prompt": "p"}, GRADED, RANKED, NESTED])
def test_every_shape_has_its_columns(shape: dict[str, Any]) -> None:
    assert own(shape).key == "made"
    assert own(shape, label="mine").key == "mine"
    own(shape, path=None, hub="org/name", revision="v1", config="c", data_dir="d", load_split="train")


def test_what_may_be_added_to_each_shape() -> None:
    everywhere = {"annotator": "n", "split": "s", "language": "l", "domain": "d", "limit": 3}
    own(
        PAIRS,
        source_a="x",
        source_b="y",
        strength="z",
        quality_a=["q"],
        quality_b=["r"],
        order_known=True,
        **everywhere,
    )
    own(BINARY, source_a="x", source_b="y", strength="z", **everywhere)
    own(GRADED, source="x", quality=["q"], ties="keep", **everywhere)
    own(RANKED, source="x", ties="keep", **everywhere)
    own(NESTED, ties="keep", **everywhere)
    own(GRADED, rater="simulated", planted_alpha=0.5)


BAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("no file", PAIRS, {"path": None}, "give either path"),
    ("file and Hub", PAIRS, {"path": "x.csv", "hub": "org/name"}, "give either path"),
    ("revision of a file", PAIRS, {"revision": "v1"}, "belong to data on the Hub"),
    ("data_dir of a file", PAIRS, {"data_dir": "x"}, "belong to data on the Hub"),
    ("load_split of a file", PAIRS, {"load_split": "train"}, "belong to data on the Hub"),
    ("planted bias in people", PAIRS, {"planted_alpha": 0.5}, "planted_alpha belongs to simulated data"),
    ("planted bias of zero", PAIRS, {"planted_alpha": 0.0}, "planted_alpha belongs to simulated data"),
    ("no prompt", PAIRS, {"prompt": None}, "prompt is missing"),
    ("no second response", PAIRS, {"response_b": None}, "response_b is missing"),
    ("no preference", PAIRS, {"preference": None}, "preference is missing"),
    ("preference not explained", PAIRS, {"values": None}, "say how to read preference"),
    ("preference explained twice", PAIRS, {"positive": "a"}, "say how to read preference"),
    ("chosen alone", BINARY, {"rejected": None}, "rejected is missing"),
    ("chosen and a preference", BINARY, {"preference": "p"}, "preference does not belong to shape 'pairs'"),
    ("chosen and a response", BINARY, {"response_a": "p"}, "response_a does not belong"),
    ("pairs with an outcome", PAIRS, {"outcome": "o"}, "outcome does not belong"),
    ("pairs with one source", PAIRS, {"source": "o"}, "source does not belong"),
    ("pairs with one quality", PAIRS, {"quality": ["o"]}, "quality does not belong"),
    ("quality of one side", PAIRS, {"quality_a": ["o"]}, "quality_a and quality_b must name the same number"),
    ("no outcome", GRADED, {"outcome": None}, "outcome is missing"),
    ("no response", GRADED, {"response": None}, "response is missing"),
    ("graded with a strength", GRADED, {"strength": "s"}, "strength does not belong to shape 'graded'"),
    ("graded with a rank", GRADED, {"rank": "s"}, "rank does not belong"),
    ("graded with chosen", GRADED, {"chosen": "s"}, "chosen does not belong"),
    ("outcome as its own control", GRADED, {"quality": ["rating"]}, "'rating' is the outcome"),
    ("no rank", RANKED, {"rank": None}, "rank is missing"),
    ("ranked with an outcome", RANKED, {"outcome": "o"}, "outcome does not belong to shape 'ranked'"),
    ("nested without ranks", NESTED, {"ranks": None}, "ranks is missing"),
    ("nested with a rank", NESTED, {"rank": "r"}, "rank does not belong"),
    ("nested with a source", NESTED, {"source": "r"}, "source does not belong"),
    ("another shape", PAIRS, {"shape": "list"}, "'pairs', 'graded' or 'ranked'"),
    ("another rater", PAIRS, {"rater": "cat"}, "'human', 'ai', 'mixed' or 'simulated'"),
    ("another value", PAIRS, {"values": {"1": "first"}}, "'a', 'b' or 'tie'"),
    ("no limit at all", PAIRS, {"limit": 0}, "greater than or equal to 1"),
    ("unknown key", PAIRS, {"promt": "x"}, "Extra inputs are not permitted"),
    ("a label for a path", PAIRS, {"label": "../x"}, "should match pattern"),
    ("an empty label", PAIRS, {"label": ""}, "should match pattern"),
]


@pytest.mark.parametrize(("shape", "change", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_may_not_be_said(shape: dict[str, Any], change: dict[str, Any], said: str) -> None:
    values = {"name": "made", "rater": "human", "path": "rows.jsonl", **shape, **change}
    with pytest.raises(ValidationError) as caught:
        OwnDataset(**{k: v for k, v in values.items() if v is not None})
    assert said in caught.value.errors()[0]["msg"]


def test_chosen_comes_first_so_its_order_is_nothing_raters_saw() -> None:
    with pytest.raises(ValidationError, match="order_known"):
        own(BINARY, order_known=True)


def test_the_values_of_a_preference_are_compared_as_text() -> None:
    assert own(PAIRS, values={1: "a", 2.0: "b", False: "tie"}).values == {"1": "a", "2": "b", "false": "tie"}


@pytest.mark.parametrize(
    ("shape", "rating"),
    [(GRADED, "rating"), (PAIRS, None), (SIGNED, None), (BINARY, None), (RANKED, None), (NESTED, None)],
)
def test_the_rating_that_is_the_outcome_of_own_data(shape: dict[str, Any], rating: str | None) -> None:
    """Ranks order the responses of one prompt alone, and a judgement of two is no rating of either."""
    assert own(shape).outcome_rating == rating


@pytest.mark.parametrize(
    ("values", "rating"),
    [
        ({"name": "helpsteer2"}, "helpfulness"),
        ({"name": "helpsteer2", "outcome": "coherence", "label": "mine"}, "coherence"),
        ({"name": "ultrafeedback"}, "overall_score"),
        ({"name": "ultrafeedback", "outcome": "honesty"}, "honesty"),
        ({"name": "nectar"}, None),  # ranks
        ({"name": "reward-bench-2"}, None),
        ({"name": "hh-rlhf"}, None),
        ({"name": "helpsteer2-preference", "quality": ["correctness"]}, None),
        ({"name": "pku-saferlhf", "outcome": "safer"}, None),  # an outcome of pairs
    ],
)
def test_the_rating_that_is_the_outcome(values: dict[str, Any], rating: str | None) -> None:
    assert CatalogueDataset(**values).outcome_rating == rating


def test_every_graded_dataset_has_a_rating_that_is_its_outcome() -> None:
    """One of those that its responses are stored with; no other has any."""
    for name, found in entries().items():
        rating = CatalogueDataset(name=name).outcome_rating
        assert rating in found.ratings if found.shape == "graded" else rating is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"name": "hh-rlhf", "part": "harmless-base"}, CatalogueDataset),
        ({"name": "x", "rater": "human", "path": "r.csv", **GRADED}, OwnDataset),
        ({"name": "x", "rater": "human", "hub": "org/name", **GRADED}, OwnDataset),
    ],
)
def test_which_kind_an_entry_is(values: dict[str, Any], kind: type) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
    assert isinstance(adapter.validate_python(values), kind)
    made = adapter.validate_python(values)
    assert adapter.validate_python(made) == made


@pytest.mark.parametrize(
    "values",
    [
        {"name": "hh-rlhf"},  # all parts
        {"name": "hh-rlhf", "part": "helpful-base", "split": "test", "revision": "v1", "limit": 3, "label": "mine"},
        {"name": "ultrafeedback", "outcome": "honesty", "quality": ["overall_score", "helpfulness"], "ties": "keep"},
        {"name": "ultrafeedback", "outcome": "honesty"},  # which is one of the default controls
        {"name": "ultrafeedback", "quality": []},
        {"name": "nectar", "ties": "keep"},
        {"name": "helpsteer3", "annotators": "each"},
        {"name": "helpsteer3", "annotators": "aggregate"},
        {"name": "hh-rlhf", "annotators": "aggregate"},
        {"name": "pku-saferlhf", "outcome": "safer", "quality": ["severity_level"]},
    ],
)
def test_what_may_be_chosen(values: dict[str, Any]) -> None:
    spec = CatalogueDataset(**values)
    spec.check()
    assert CatalogueDataset(**spec.model_dump(mode="json", exclude_defaults=True)) == spec


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "hh-rhlf"}, "did you mean hh-rlhf"),
    ({"name": "zzz"}, "it has arena-140k, arena-55k, "),
    (
        {"name": "hh-rlhf", "part": "harmful"},
        "there is no part 'harmful'; it has harmless-base, helpful-base, helpful-online, helpful-rejection-sampled",
    ),
    ({"name": "hh-rlhf", "part": "helpful-base", "split": "dev"}, "there is no split 'dev'; it has train, test"),
    ({"name": "ultrafeedback-binarized", "part": "x"}, "takes no part; leave it out"),
    (
        {"name": "ultrafeedback-binarized", "split": "train"},
        "there is no split 'train'; it has train_prefs, test_prefs",
    ),
    (
        {"name": "helpsteer", "outcome": "quality"},
        "there is no outcome 'quality'; it has helpfulness, correctness, coherence, complexity, verbosity",
    ),
    ({"name": "hh-rlhf", "outcome": "helpfulness"}, "takes no outcome; leave it out"),
    (
        {"name": "helpsteer2-preference", "quality": ["correctness", "length"]},
        "there is no quality 'length'; it has helpfulness, correctness, coherence, complexity, verbosity",
    ),
    ({"name": "shp", "quality": ["votes"]}, "takes no quality; leave it out"),
    (
        {"name": "helpsteer", "outcome": "coherence", "quality": ["coherence"]},
        "'coherence' is the outcome, so it cannot be a quality control too",
    ),
    (
        {"name": "helpsteer", "quality": ["helpfulness"]},  # the default outcome
        "'helpfulness' is the outcome, so it cannot be a quality control too",
    ),
    ({"name": "hh-rlhf", "ties": "keep"}, "ties is for ratings and ranks; the ties among pairs are kept"),
    ({"name": "hh-rlhf", "annotators": "each"}, "does not hold each annotator's own judgement; leave annotators out"),
    ({"name": "helpsteer2", "annotators": "each"}, "does not hold each annotator's own judgement"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED)
def test_options_are_checked_against_the_catalogue(values: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        CatalogueDataset(label="mine", **values).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    # What is wrong with a choice is said of the dataset as the study calls it.
    assert values["name"] in ("hh-rhlf", "zzz") or str(caught.value).startswith("dataset 'mine'")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"name": "hh-rlhf", "annotators": "all"}, "annotators"),
        ({"name": "hh-rlhf", "ties": "split"}, "ties"),
        ({"name": "hh-rlhf", "quality": "correctness"}, "quality"),
        ({"name": "hh-rlhf", "limit": 0}, "limit"),
        ({"name": "hh-rlhf", "label": "../x"}, "label"),
        ({"name": "hh-rlhf", "prompt": "x"}, "prompt"),
    ],
)
def test_an_option_of_another_form_is_refused(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CatalogueDataset(**values)
    assert {error["loc"][0] for error in caught.value.errors()} == {key}

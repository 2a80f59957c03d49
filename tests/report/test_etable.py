"""The wide table of estimates, the same for LaTeX, and what `typicality export` writes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.report.etable import escape, latex, tidy
from analysis.schemas import TABLES
from flows.exporting import export_study
from tests.report.test_changes import FIRST as RUN
from tests.report.test_changes import estimate, write_run
from tests.runs import HOSTILE, Finished
from tests.test_tables import filled

CLUSTERED, WILSON = "clustered by prompt", "Wilson score interval"
WHY = "it is the same for both responses of every comparison"


def row(specification: str, term: str, estimate: float | None, **values: Any) -> dict[str, Any]:
    """A row of `estimates`: ours under the small base model, unless told otherwise."""
    number = {} if estimate is None else {
        "estimate": estimate, "std_error": 0.05, "conf_low": estimate - 0.1, "conf_high": estimate + 0.1,
        "p_value": 0.0004, "mean_log_likelihood": -0.65,
    }  # fmt: skip
    where = {
        "study": "made", "run_id": "r", "dataset": "ours", "base_model": "small", "measure": "mean_logprob",
        "slice": "all", "specification": specification, "term": term, "covariance": CLUSTERED,
        "n_comparisons": 1_000, "n_prompts": 400, "status": "ok" if estimate is not None else WHY,
    }  # fmt: skip
    return filled(TABLES["estimates"], **(where | number | values))


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    made: pd.DataFrame = tables.to_arrow("estimates", rows).to_pandas()
    return made


@pytest.fixture
def estimates() -> pd.DataFrame:
    return frame(
        row("rate", "typicality", 0.612, covariance=WILSON, mean_log_likelihood=None),
        row("bt", "typicality", -0.25),
        row("bt_length", "log_words", 1.5, n_comparisons=990),
        row("bt_length", "typicality", 0.125, n_comparisons=990),
        row("bt_length", "headers", None, n_comparisons=1_000),
        row("bt", "typicality", 0.5, measure="mean_pmi"),
        row("bt", "typicality", 0.75, slice="equal_quality"),
        row("bt", "typicality", 0.875, base_model="large"),
        row("bt", "typicality", 1.25, dataset="theirs"),
    )


def test_models_are_columns_and_terms_rows(estimates: pd.DataFrame) -> None:
    made = tidy(estimates)
    assert list(made.columns) == [
        ("ours", "small", "rate"), ("ours", "small", "bt"), ("ours", "small", "bt_length"),
        ("ours", "large", "bt"), ("theirs", "small", "bt"),
    ]  # fmt: skip
    assert made.columns.names == ["dataset", "base_model", "specification"]
    assert list(made.index) == [
        ("typicality", "estimate"), ("typicality", "std_error"), ("log_words", "estimate"), ("log_words", "std_error"),
        ("headers", "estimate"), ("headers", "std_error"),
        ("comparisons", ""), ("prompts", ""), ("mean log-likelihood", ""), ("covariance", ""),
    ]  # fmt: skip
    assert list(made.loc[("typicality", "estimate")]) == ["0.612", "−0.250", "0.125", "0.875", "1.250"]
    assert list(made.loc[("log_words", "estimate")]) == ["", "", "1.500", "", ""]
    assert made.loc[("headers", "estimate"), ("ours", "small", "bt_length")] == WHY
    assert made.loc[("headers", "std_error"), ("ours", "small", "bt_length")] == ""
    assert list(made.loc[("comparisons", "")])[:3] == ["1,000", "1,000", "990"]
    assert list(made.loc[("prompts", "")])[:1] == ["400"]
    assert list(made.loc[("mean log-likelihood", "")])[:2] == ["—", "−0.650"]
    assert list(made.loc[("covariance", "")])[:2] == [WILSON, CLUSTERED]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("std_error", "(0.050)"), ("interval", "[−0.350, −0.150]"), ("p_value", "(p < 0.001)")],
)
def test_what_stands_in_brackets(estimates: pd.DataFrame, statistic: Any, expected: str) -> None:
    made = tidy(estimates, statistic=statistic)
    assert made.loc[("typicality", statistic), ("ours", "small", "bt")] == expected


def test_what_is_asked_for_is_shown_in_that_order(estimates: pd.DataFrame) -> None:
    made = tidy(estimates, specifications=["bt_length", "bt"], terms=["headers", "typicality"])
    assert [c[2] for c in made.columns if c[:2] == ("ours", "small")] == ["bt_length", "bt"]
    assert list(dict.fromkeys(made.index.get_level_values("row")))[:2] == ["headers", "typicality"]
    other = tidy(estimates, measure="mean_pmi")
    assert list(other.loc[("typicality", "estimate")]) == ["0.500"]
    assert list(tidy(estimates, slice="equal_quality").loc[("typicality", "estimate")]) == ["0.750"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"measure": "bits"}, "there is no measure 'bits' here; there are mean_logprob, mean_pmi"),
        ({"slice": "some"}, "there is no slice 'some' here; there are all, equal_quality"),
        ({"specifications": ["logit"]}, "there is no specification 'logit' here; there are rate, bt, bt_length"),
        ({"specifications": []}, "no specification is asked for"),
        ({"terms": ["beta"]}, "there is no term 'beta' here; there are typicality, log_words, headers"),
        ({"statistic": "t"}, "there is no statistic 't'; allowed are std_error, interval, p_value"),
    ],
)
def test_what_is_not_there_is_told(estimates: pd.DataFrame, asked: dict[str, Any], sentence: str) -> None:
    for function in (tidy, latex):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            function(estimates, **asked)


def test_an_estimate_that_is_there_twice_is_told(estimates: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the estimates of ours × small are there more than once"):
        tidy(pd.concat([estimates, estimates]))
    with pytest.raises(ValueError, match="there are no estimates"):
        tidy(estimates.iloc[:0])


def test_a_term_may_be_called_as_a_line_below() -> None:
    made = tidy(frame(row("bt", "typicality", 0.5), row("bt", "comparisons", 2.0)))
    assert list(made.xs("comparisons", level="row").iloc[:, 0]) == ["2.000", "(0.050)", "1,000"]


def test_numbers_that_differ_from_term_to_term_are_not_told_as_one() -> None:
    made = tidy(frame(row("binned", "low", 0.5), row("binned", "high", 0.6, n_comparisons=7)))
    assert made.loc[("comparisons", "")].iloc[0] == "—"
    assert made.loc[("prompts", "")].iloc[0] == "400"


# LaTeX.

# As in TeX: a control word, a control sign, or any other sign.
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", flags=re.S)


def check(text: str) -> None:
    """Environments and braces are balanced, rows have as many cells as the table, and nothing is left unescaped."""
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    depth, math = 0, False
    for token in TOKEN.findall(text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        math ^= token == "$"
        assert depth >= 0
        assert token not in "#%^~"
        assert token != "_"
    assert depth == 0
    assert not math
    (columns,) = re.findall(r"\\begin\{tabular\}\{(l[r]+)\}", text)
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    for line in body.splitlines():
        if line.endswith(r"\\"):
            wide = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert TOKEN.findall(line).count("&") + 1 + wide == len(columns)


def test_latex_is_sound(estimates: pd.DataFrame) -> None:
    text = latex(estimates, caption="100 % of it")
    check(text)
    assert r"\caption{100 \% of it}" in text
    assert r"& \multicolumn{4}{c}{ours} & \multicolumn{1}{c}{theirs} \\" in text
    assert r"& \multicolumn{3}{c}{small} & \multicolumn{1}{c}{large} & \multicolumn{1}{c}{small} \\" in text
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-5} \cmidrule(lr){6-6}" in text
    assert r"typicality & 0.612 & $-$0.250 & 0.125 & 0.875 & 1.250 \\" in text
    assert r" & (0.050) & (0.050) & (0.050) & (0.050) & (0.050) \\" in text
    assert r"headers &  &  & (a) &  &  \\" in text
    assert f"(a) No number: {WHY}." in text
    assert "Standard errors and intervals, column 1: Wilson score interval." in text
    assert "Standard errors and intervals, columns 2--5: clustered by prompt." in text


def test_a_covariance_of_all_columns_names_none() -> None:
    text = latex(frame(row("bt", "typicality", 0.5)))
    check(text)
    assert "Standard errors and intervals: clustered by prompt." in text
    assert r"\caption" not in text


@pytest.mark.parametrize(
    "text", [HOSTILE, r"\input{/etc/passwd}", "50 % & $x_1$ #~^", "[a] *", "{", "}", "a\\", "²²\n\nx"]
)
def test_text_of_the_data_cannot_break_the_table(text: str) -> None:
    rows = [
        row("bt", "typicality", 0.5, dataset=text, base_model=text, covariance=text),
        row("bt", text, None, dataset=text, base_model=text, covariance=text, status=text),
    ]
    made = latex(frame(*rows), caption=text)
    check(made)
    assert r"\input" not in made


def test_escaped_text_is_printed_as_it_is() -> None:
    assert escape("a--b") == "a-{}-b"
    assert escape("a---b") == "a-{}-{}-b"
    assert escape(r"\_") == r"\textbackslash{}\_"
    assert escape("a\0\x1b\u00a0b\n\n c") == "a b c"
    assert escape("−1 ≤ α") == r"$-$1 $\leq$ $\alpha$"


def test_many_reasons_have_a_letter_each() -> None:
    rows = [row("bt", f"t{i}", None, status=f"reason {i}") for i in range(28)]
    text = latex(frame(*rows))
    check(text)
    assert r"t27 & (ab) \\" in text
    assert "(ab) No number: reason 27." in text


def test_the_tables_of_a_real_run_are_sound(finished: Finished) -> None:
    estimates = finished.table("estimates")
    for measure in estimates["measure"].unique():
        made = tidy(estimates, measure=measure)
        check(latex(estimates, measure=measure, statistic="interval"))
        assert made.shape[1] == len(
            estimates.query("measure == @measure and slice == 'all'")
            .groupby(["dataset", "base_model", "specification"])
            .size()
        )
        assert made.map(lambda cell: isinstance(cell, str)).all(axis=None)


# The command.


def test_csv_holds_every_estimate_in_full_precision(finished: Finished, tmp_path: Path) -> None:
    path = tmp_path / "new" / "estimates.csv"
    export_study("made", finished.outputs, "csv", path)
    made = pd.read_csv(path, keep_default_na=False, na_values=[""])
    expected = finished.table("estimates")
    assert list(made.columns) == TABLES["estimates"].schema.names
    for column in expected.select_dtypes("number"):
        np.testing.assert_array_equal(made[column], expected[column])
    assert list(made["status"]) == list(expected["status"])


def test_json_holds_every_estimate(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    export_study("made", finished.outputs, "json", None)
    out = capsys.readouterr().out
    rows = json.loads(out)
    assert "NaN" not in out
    expected = tables.scan("estimates", tables.files("estimates", finished.outputs.root)).to_pylist()
    assert rows == expected


def test_latex_is_a_table_of_each_cell(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    export_study("made", finished.outputs, "latex", None)
    first, *made = capsys.readouterr().out.split(r"\begin{table}")
    assert first == "% needs \\usepackage{booktabs}\n"
    assert len(made) == 2
    for text, dataset in zip(made, ("graded", "pairs"), strict=True):
        check(r"\begin{table}" + text)
        assert f"\\caption{{{dataset} under tiny}}" in text


def test_a_study_without_the_slice_of_all_has_a_table_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = Outputs(tmp_path)
    write_run(outputs, RUN, [estimate(0.5, specification="quadratic", slice="equal_quality")])
    export_study("made", outputs, "latex", None)
    assert "slice: equal\\_quality" in capsys.readouterr().out


def test_mistakes_are_one_sentence(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="holds no run of study 'nowhere'; it holds runs of made"):
        export_study("nowhere", finished.outputs, "csv", None)
    for output in (tmp_path, tmp_path / "file" / "e.csv"):
        with pytest.raises(StudyError, match=f"cannot write {output}: .*; choose another file with --output"):
            export_study("made", finished.outputs, "csv", output)
    outputs = Outputs(tmp_path / "outputs")
    write_run(outputs, RUN, [])
    with pytest.raises(StudyError, match="estimated nothing"):
        export_study("made", outputs, "latex", None)
    (outputs.root / "runs" / RUN / "_estimates.parquet").unlink()
    with pytest.raises(StudyError, match="are gone"):
        export_study("made", outputs, "csv", None)

"""The report: the same as HTML and Markdown, with nothing from a dataset taken for markup."""

import re
from html.parser import HTMLParser

import pytest

from analysis.report.stage import report
from tests.runs import HOSTILE, Finished


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(finished: Finished):
    return finished.outputs.root / "reports" / "made" / "latest"


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_the_page_is_self_contained(page: Page):
    assert not [a for tag, a in page.tags if tag in ("link", "img", "iframe") or "src" in a]
    assert all((a.get("href") or "#").startswith("#") for tag, a in page.tags if tag == "a")


def test_text_from_datasets_is_escaped(page: Page, folder):
    assert HOSTILE.split(" | ")[0] in page.text
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\]\(javascript", markdown)
    row = next(line for line in markdown.splitlines() if "alert" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_both_say_the_same(page: Page, folder):
    markdown = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    for section in (
        "The answer",
        "Every cell",
        "What training on it would do",
        "Placebos and rivals",
        "All estimates",
        "Coverage and exclusions",
        "Caveats",
        "Provenance",
        "Definitions",
    ):
        assert section in page.text
        assert section in markdown
    drawn = ("forest", "ladder", "dose-response", "distribution", "specification-curve", "placebos")
    for name in (*drawn, "forecast-beta", "forecast-generations"):
        assert f"]({name}.svg)" in markdown
        image = (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert image.startswith("<svg ") and 'role="img"' in image and image in page.source


def test_estimates_of_every_cell_are_shown(page: Page, finished: Finished):
    estimates = finished.table("estimates").query("term == 'typicality' and specification == 'rate'")
    for rate in estimates["estimate"]:
        assert f"{100 * rate:.1f} %" in page.text


def test_exclusions_and_provenance_are_shown(page: Page, finished: Finished):
    for _, row in finished.table("exclusions").iterrows():
        assert row["reason"].split("<")[0] in page.text
    run = finished.table("runs").sort_values("started").iloc[-1]
    for source in (*run["datasets"], *run["base_models"]):
        assert source["revision"] in page.text


def test_caveats_name_what_this_run_calls_for(page: Page):
    assert "graded: the labels come from a model" in page.text
    assert "tiny is small" in page.text
    assert re.search(r"graded under tiny: only \d+ prompts", page.text)
    assert "pairs: the labels come from a model" not in page.text


def test_every_table_has_a_caption_and_scopes(page: Page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") > 0
    assert all("scope" in a for tag, a in page.tags if tag == "th")
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_the_same_tables_give_the_same_bytes(finished: Finished, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report(finished.outputs, folder.resolve().name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

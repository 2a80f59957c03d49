"""The headline: one sentence, numbers first."""

from analysis.report.content import Cell, Content, Planted
from analysis.report.words import count, ended, fixed, interval, percent, percent_interval


def headline(content: Content) -> str:
    """The report's first sentence, from the rate of each cell under the headline measure."""
    cells = [c for c in content.cells if c.ok]
    failed = len(content.cells) - len(cells)
    if not cells:
        first = content.failures[0]["status"] if content.failures else content.cells[0].status
        where = "" if failed == 1 else f" in any of {count(failed, 'cell')}; the first"
        return ended(f"No estimate{where}: {first}")
    text = _one(cells[0]) if len(cells) == 1 else _many(cells)
    told = [p for p in content.planted if p.slice == "equal_quality"]
    if told:
        text += f" {planted_sentence(told[0])}"
    if failed:
        text += f" {count(failed, 'further cell')} {'has' if failed == 1 else 'have'} no estimate."
    return text


def _one(cell: Cell) -> str:
    rate = cell.rate
    return (
        f"{percent(rate['estimate'])} % of {rate['n_comparisons']:,} comparisons of {cell.dataset} prefer the response "
        f"that {cell.base_model} finds more typical (95 % interval "
        f"{percent_interval(rate['conf_low'], rate['conf_high'])} %; 50 % is no bias)."
    )


def _many(cells: list[Cell]) -> str:
    rates = [c.rate["estimate"] for c in cells]
    above = sum(c.rate["conf_low"] > 0.5 for c in cells)
    below = sum(c.rate["conf_high"] < 0.5 for c in cells)
    level = len(cells) - above - below
    return (
        f"{percent(min(rates))} to {percent(max(rates))} % of comparisons prefer the more typical response, over "
        f"{count(len(cells), 'cell')} (50 % is no bias): the 95 % interval lies above one half in {above}, below it in "
        f"{below}, and includes it in {level}."
    )


def planted_sentence(planted: Planted) -> str:
    """The planted α beside the recovered one."""
    found = planted.estimate
    within = "inside" if planted.covered else "outside"
    return (
        f"These data are simulated: the planted α is {fixed(planted.alpha)}, and Bradley–Terry gives "
        f"{fixed(found['estimate'])} (95 % interval {interval(found['conf_low'], found['conf_high'])}) where quality "
        f"is equal, so the planted value lies {within} the interval."
    )

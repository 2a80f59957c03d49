"""The figures of a study of remedies, each with what it shows in words and as a table."""

from collections.abc import Iterator

from analysis.collapse.remedies.measures import EFFECTIVE, HEADLINE, LIKELIHOOD
from analysis.collapse.remedies.methods import VERBALIZED, Method
from analysis.report.figures import style, svg
from analysis.report.figures.remedies import Axis, frontier, recovery, sweep
from analysis.report.pictures import Picture
from analysis.report.remedies.content import MEASURES, Content, estimate

_DIVERSITY = Axis(HEADLINE, "diversity (mean 1 − cosine)")
_QUALITY = {
    LIKELIHOOD: Axis(LIKELIHOOD, "log-likelihood, nats a token"),
    "judgement": Axis("judgement", "judge's score"),
}
_RECOVERED = ("kl", "kl_of_reference", "coverage", "coverage_of_reference")
_SWEPT = (
    Axis("entropy", "entropy, nats a token"),
    Axis(HEADLINE, "diversity"),
    Axis(EFFECTIVE, "effective diversity"),
    Axis("repetition", "repetition, share of 4-grams"),
    Axis("mean_logprob", "log-likelihood, nats a token"),
    Axis("judgement", "judge's score"),
)


def pictures(content: Content) -> Iterator[Picture]:
    """Draw everything that the tables allow."""
    quality = _QUALITY.get(content.quality or "")
    if quality and _has(content, HEADLINE) and _has(content, quality.measure):
        title = "Diversity against quality"
        names = {method.name: _colour(content, method) for method in content.study.methods}
        yield Picture(
            "frontier",
            "Frontier",
            title,
            "Each number is a method; up is more diverse, right is better. The pale line joins those that no other "
            "method beats in both. Whiskers are 95 % intervals over prompts.",
            svg(frontier(content.remedies, names, quality, _DIVERSITY), title),
            ("Model", "Method", "Quality", "Diversity"),
            [
                (m, n, *(estimate(content.row(m, n, measure)) for measure in (quality.measure, HEADLINE)))
                for m in content.models
                for n in names
            ],
        )
    heats = _temperatures(content)
    if len(heats) > 2:
        title = "What temperature does"
        shown = [axis for axis in _SWEPT if _has(content, axis.measure)]
        yield Picture(
            "temperature",
            "Temperature",
            title,
            "The same prompts at every temperature; 1 is the model's own distribution. Entropy is that of the "
            "distributions drawn from. Bands are 95 % intervals over prompts.",
            svg(sweep(content.remedies, heats, shown, "temperature"), title),
            ("Model", "Temperature", *(axis.label for axis in shown)),
            [
                (m, f"{heats[n]:g}", *(estimate(content.row(m, n, axis.measure)) for axis in shown))
                for m in content.models
                for n in sorted(heats, key=lambda name: heats[name])
            ],
        )
    if _has(content, "coverage"):
        title = "How well known distributions are found again"
        yield Picture(
            "recovery",
            "Recovery",
            title,
            "Questions whose answers can all be listed: KL of the answers that were given to the reference, and the "
            "share of the answers that were given at all. Hollow diamonds: as many draws from the reference itself, "
            "which no method can be asked to beat. Bars are 95 % intervals over prompts.",
            svg(recovery(content.remedies), title),
            ("Model", "Method", *(MEASURES[name] for name in _RECOVERED)),
            [
                (m, method.name, *(estimate(content.row(m, method.name, name), brief=True) for name in _RECOVERED))
                for m in content.models
                for method in content.study.methods
            ],
        )


def _has(content: Content, measure: str) -> bool:
    rows = content.remedies[content.remedies["measure"] == measure]
    return bool(rows["estimate"].notna().any())


def _temperatures(content: Content) -> dict[str, float]:
    """Methods that differ from the model's own distribution by the temperature alone."""
    found = {}
    for method in content.study.methods:
        steps = method.decoding.steps
        if method.kind == "direct" and method.instruction is None and set(steps) <= {"temperature", "max_tokens"}:
            found[method.name] = float(steps.get("temperature", 1.0))
    return found if len(set(found.values())) == len(found) else {}


def _colour(content: Content, method: Method) -> str:
    if method.name == content.study.baseline:
        return style.INK
    if method.kind in VERBALIZED:
        return style.VERMILION
    return style.GREEN if method.kind == "list" else style.BLUE

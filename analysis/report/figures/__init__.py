"""The report's figures: each takes rows of a table as a pandas DataFrame and returns a matplotlib figure."""

from analysis.report.figures.curve import specification_curve
from analysis.report.figures.distribution import distribution
from analysis.report.figures.diversity import diversity
from analysis.report.figures.dose import dose_response
from analysis.report.figures.forecast import generations, narrowing
from analysis.report.figures.forest import forest
from analysis.report.figures.heterogeneity import heterogeneity
from analysis.report.figures.ladder import ladder
from analysis.report.figures.markup import svg
from analysis.report.figures.placebos import placebos
from analysis.report.figures.sampling import temperature
from analysis.report.figures.shape import shape

__all__ = [
    "distribution",
    "diversity",
    "dose_response",
    "forest",
    "generations",
    "heterogeneity",
    "ladder",
    "narrowing",
    "placebos",
    "shape",
    "specification_curve",
    "svg",
    "temperature",
]

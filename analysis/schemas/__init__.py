"""Every table declared as data: its columns, their Arrow types, units and meanings.

`outputs/README.md`, the Arrow schemas on disk and the report's column notes are all made from these declarations.
"""

from analysis.schemas.collapse import DIVERSITY, FORECASTS, PROMPT_FORECASTS
from analysis.schemas.columns import SCHEMA_VERSION, Column, Table
from analysis.schemas.estimates import ESTIMATES
from analysis.schemas.generations import MONITOR, SIGNS, TEMPERATURE
from analysis.schemas.judgements import COMPARISONS, DIFFERENCES, EXCLUSIONS
from analysis.schemas.remedies import ANSWERS, GENERATIONS, REMEDIES, SAMPLINGS
from analysis.schemas.runs import RUNS
from analysis.schemas.synthesis import AGREEMENT, HETEROGENEITY, INFLUENCES, SYNTHESIS
from analysis.schemas.texts import FEATURES, RESPONSES, SCORES, TOKEN_LOGPROBS

__all__ = ["SCHEMA_VERSION", "TABLES", "Column", "Table"]

TABLES = {
    t.name: t
    for t in (
        *(RESPONSES, FEATURES, SCORES, TOKEN_LOGPROBS, COMPARISONS, DIFFERENCES, ESTIMATES, FORECASTS),
        *(PROMPT_FORECASTS, DIVERSITY, TEMPERATURE, MONITOR, SIGNS),
        *(HETEROGENEITY, INFLUENCES, SYNTHESIS, AGREEMENT, EXCLUSIONS, RUNS),
        *(ANSWERS, GENERATIONS, REMEDIES, SAMPLINGS),
    )
}

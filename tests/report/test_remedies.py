"""What the report of a study of remedies says first."""

import pandas as pd
import pytest

from analysis.collapse.remedies.study import parse
from analysis.report.remedies.content import Content, headline

STUDY = parse(
    {
        "name": "s",
        "models": [{"backend": "chat", "name": "m"}],
        "methods": [{"name": "direct"}, {"name": "hot"}],
        "prompts": [{"prompt": "colour?"}],
    }
)


@pytest.mark.parametrize(
    ("ratio", "low", "told"),
    [
        (1.5, 1.2, "Under m, hot has the highest diversity: 1.50 times that of direct"),
        (0.8, 0.7, "Under m, no method has a higher diversity than direct; hot comes next: 0.80 times as much"),
    ],
)
def test_a_method_below_the_baseline_is_not_the_highest(ratio: float, low: float, told: str) -> None:
    row = {"model": "m", "method": "hot", "measure": "embedding_diversity", "ratio": ratio}
    frame = pd.DataFrame([row | {"ratio_low": low, "ratio_high": ratio + 0.1}])
    assert headline(Content(STUDY, {}, frame, pd.DataFrame())).startswith(told)

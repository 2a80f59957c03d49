"""Agreement of base models: against scipy, and the same whichever response is a."""

import numpy as np
import pytest
from scipy import stats

from analysis.regression.agreement import _of_dataset, _of_datasets, concordance
from analysis.regression.inference import NoEstimate


def test_against_scipy() -> None:
    random = np.random.default_rng(0)
    values = (random.normal(size=60) + 0.7 * random.normal(size=(4, 60))).round(1)  # with ties
    found = concordance(values)
    friedman = stats.friedmanchisquare(*values.T).statistic
    assert found["kendall_w"] == pytest.approx(friedman / (4 * 59), rel=1e-10)
    pairs = [stats.spearmanr(values[i], values[j]).statistic for i in range(4) for j in range(i)]
    assert found["spearman"] == pytest.approx(np.mean(pairs), rel=1e-10)
    assert found["spearman_least"] == pytest.approx(min(pairs), rel=1e-10)


def test_the_same_order_is_one_and_the_reverse_is_minus_one() -> None:
    values = np.array([[1.0, 2, 3, 4], [10, 20, 30, 40]])
    assert concordance(values) == pytest.approx({"kendall_w": 1, "spearman": 1, "spearman_least": 1})
    assert concordance(values * [[1], [-1]]) == pytest.approx({"kendall_w": 0, "spearman": -1, "spearman_least": -1})


def test_turning_comparisons_changes_nothing() -> None:
    random = np.random.default_rng(1)
    differences = random.normal(size=200) + random.normal(size=(2, 200))
    turned = differences * np.where(random.random(200) < 0.5, 1, -1)
    assert _of_dataset(turned) == pytest.approx(_of_dataset(differences), abs=1e-12)
    same = np.mean(np.sign(differences[0]) == np.sign(differences[1]))
    assert _of_dataset(differences)["same_side"] == pytest.approx(same)


def test_what_has_no_number() -> None:
    assert _of_dataset(np.zeros((1, 5)))["status"] == "fewer than two base models have differences"
    assert "fewer than two comparisons" in _of_dataset(np.zeros((2, 1)))["status"]
    assert "finds all alike" in _of_dataset(np.array([[0.0, 0, 0], [1, 2, 3]]))["status"]
    two = [{"x": 0.1, "y": 0.2}, {"x": 0.3, "y": 0.1}]
    assert _of_datasets(two) == {
        "status": "fewer than 3 datasets have an α under every base model", "n_base_models": 2, "n": 2,
    }  # fmt: skip
    assert _of_datasets([])["status"] == "fewer than two base models have an α"
    with pytest.raises(NoEstimate):
        concordance(np.zeros((2, 4)))

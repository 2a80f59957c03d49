"""The signs of collapse, at and about their thresholds."""

import numpy as np
import pytest

from analysis.collapse.monitor import RULES, Measured, drop, dropped, verdict

CALM = Measured(2.0, 2.1, 0.3, 0.1, 0.4, 0.02, 0.01)


def signs(measured: Measured) -> dict[str, bool | None]:
    return {sign.name: sign.there for sign in verdict(measured).signs}


def test_each_sign_has_its_threshold():
    assert set(signs(CALM).values()) == {False}
    assert verdict(CALM).words == "no sign of collapse"
    for change, name in (
        ({"entropy": 1.4}, "entropy"),
        ({"self_bleu": 0.96, "self_bleu_spread": 0.01}, "self_bleu"),
        ({"dominance": 0.81}, "cluster_dominance"),
        ({"repetition": 0.12}, "repetition"),
    ):
        found = verdict(Measured(**(CALM.__dict__ | change)))
        assert [sign.name for sign in found.signs if sign.there] == [name]
        assert found.words == "narrowing"


def test_what_a_sign_was_read_from():
    told = {sign.name: sign.told for sign in verdict(CALM).signs}
    assert told["entropy"] == "2.00 nats a token, 5 % below the baseline's 2.10 (sign: more than 30 % below)"
    assert told["repetition"] == "2 % of 4-grams repeat, of the baseline's 1 % (sign: 10 points more)"
    higher = {sign.name: sign.told for sign in verdict(Measured(2.2, 2.0)).signs}
    assert "10 % above the baseline's 2.00" in higher["entropy"]


def test_a_high_self_bleu_that_varies_is_no_sign():
    assert not signs(Measured(self_bleu=0.99, self_bleu_spread=0.05))["self_bleu"]


def test_two_signs_are_a_collapse_and_nothing_known_is_no_verdict():
    assert verdict(Measured(1.0, 2.0, dominance=0.9)).words == "collapsed"
    assert verdict(Measured()).words == "cannot tell"
    assert verdict(Measured(dominance=0.1)).words == "cannot tell"
    assert verdict(Measured(dominance=0.1, self_bleu=0.1, self_bleu_spread=0.1)).words == "no sign of collapse"
    assert {verdict(m).words for m in (CALM, Measured(), Measured(dominance=0.9))} < set(RULES)


def test_a_drop_is_told_request_by_request():
    entropy, baseline = np.array([2.0, 1.39, 1.41, 0.0, np.nan, 1.0]), np.array([2.0, 2.0, 2.0, 2.0, 2.0, 0.0])
    assert dropped(entropy, baseline).tolist() == [False, True, False, True, False, False]
    assert drop(entropy, baseline)[:4] == pytest.approx([0, 0.305, 0.295, 1])
    assert np.isnan(drop(entropy, baseline)[4:]).all()
    assert dropped([1.0, 2.0], 2.0).tolist() == [True, False]

"""Runs that are killed or meet a full disk, at some of the moments that `tests.bench.interruption` tries all of."""

import os
import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials fork")
def test_an_interrupted_run_is_completed_by_the_next_one_to_the_last_bit():
    # A process of its own: one in which torch has computed cannot be forked safely.
    asked = [sys.executable, "-m", "tests.bench.interruption", "--moments", "3", "--random", "1"]
    made = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.count("3 of 3 good") == 4
    assert made.stdout.count("1 of 1 good") == 2

from __future__ import annotations

import numpy as np
import pytest

from mose_med.case_contents.maps import DEFAULT_OUTPUTS, OUTPUTS, STEP, outputs_in_order
from mose_med.errors import ConfigError


def test_the_default_has_samples_probability_consensus_and_entropy():
    assert {"masks", "probability", "consensus", "entropy"} <= set(DEFAULT_OUTPUTS) <= set(OUTPUTS)


def test_the_order_in_which_kinds_are_given_makes_no_difference():
    assert outputs_in_order(["entropy", "masks"]) == outputs_in_order(["masks", "entropy", "masks"])
    assert outputs_in_order(["entropy", "all"]) == OUTPUTS


@pytest.mark.parametrize(("kinds", "got"), [(["masks", "heat"], "'heat'"), ([], "none")])
def test_kinds_that_do_not_exist_are_refused(kinds: list[str], got: str):
    with pytest.raises(ConfigError, match=f"outputs must be all, or some of masks, probability, .*, got {got}"):
        outputs_in_order(kinds)


def test_the_step_is_finer_than_a_thousandth_and_exact_in_the_header():
    assert STEP <= 1 / 1000
    assert float(np.float32(STEP)) == STEP

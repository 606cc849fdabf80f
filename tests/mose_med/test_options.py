"""Values of options are of the declared kind, or they are refused by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from mose_med.api.options import ResultOptions
from mose_med.errors import ConfigError
from mose_med.options import Limits, check_options


@dataclass(frozen=True)
class Every:
    """One option of each kind."""

    switch: bool = False
    number: Annotated[int, Limits(at_least=1)] = 1
    share: Annotated[float, Limits(at_least=0, at_most=1)] = 0.5
    limit: float | None = None
    numbers: Annotated[tuple[int, ...], Limits(at_least=1)] = (1,)
    choice: Literal["one", "two"] = "one"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("switch", "no", "True or False, got 'no'"),
        ("switch", 1, "True or False, got 1"),
        ("switch", None, "True or False, got None"),
        ("number", 2.5, "a whole number >= 1, got 2.5"),
        ("number", 2.0, "a whole number >= 1, got 2.0"),
        ("number", "4", "a whole number >= 1, got '4'"),
        ("number", True, "a whole number >= 1, got True"),
        ("number", None, "a whole number >= 1, got None"),
        ("number", 0, ">= 1, got 0"),
        ("share", "0.5", "a number between 0 and 1, got '0.5'"),
        ("share", False, "a number between 0 and 1, got False"),
        ("share", float("nan"), "between 0 and 1, got nan"),
        ("limit", "9", "a number, got '9'"),
        ("numbers", (1, 2.5), "whole numbers >= 1, got (1, 2.5)"),
        ("numbers", (1, 0), ">= 1, got (1, 0)"),
        ("choice", "three", "one or two, got 'three'"),
        ("choice", None, "one or two, got None"),
        ("choice", 1, "one or two, got 1"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_rule(field: str, value: Any, rule: str):
    with pytest.raises(ConfigError) as caught:
        check_options(Every(**{field: value}))
    assert str(caught.value) == f"{field} must be {rule}"


@pytest.mark.parametrize(
    "value",
    [
        {"number": np.int64(2), "share": np.float32(0.5), "numbers": (np.uint8(1), 2)},
        {"share": 1, "limit": 3, "switch": True, "choice": "two"},
        {"limit": None, "numbers": ()},
    ],
)
def test_numbers_of_numpy_and_whole_ones_are_numbers(value: dict[str, Any]):
    check_options(Every(**value))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"keep_identity": "no"}, "keep_identity must be True or False, got 'no'"),
        ({"seed": 1.5}, "seed must be a whole number >= 0, got 1.5"),
        ({"outputs": None}, "outputs must be a name or a list of names, got None"),
        ({"outputs": [1, "masks"]}, r"outputs must be a name or a list of names, got \[1, 'masks'\]"),
        ({"dicom": 5}, "dicom must be a name or a list of names, got 5"),
    ],
)
def test_options_of_a_result_are_of_their_kind(option: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        ResultOptions.of(option)


def test_what_decides_a_result_is_recorded_in_plain_numbers():
    options = ResultOptions.of({"samples": np.int64(2), "overlap": np.float64(0.5), "depth_mm": 20})
    plain = ResultOptions(samples=2, overlap=0.5, depth_mm=20.0)
    assert options == plain
    kinds = [[type(value) for value in dataclasses.asdict(one).values()] for one in (options, plain)]
    assert kinds[0] == kinds[1]

from __future__ import annotations

import pytest

from mose_med.io.kernels import kernel_group, kernel_preference


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("soft", ["SOFT", "B20f", "A"]),
        ("standard", ["Standard", "B30f", "B45f", "Br40d\\3", "FC01", "FC18", "C", "BODY"]),
        ("lung", ["LUNG", "B50f", "Bl57", "FC51", "L", "I50f\\2"]),
        ("edge", ["BONE", "BONEPLUS", "B70f", "FC86", "D"]),
        ("unknown", ["", "YA", "FC99", "lung kernel", "B3"]),
    ],
)
def test_names_of_the_makers_are_known(group: str, names: list[str]):
    assert {kernel_group(name) for name in names} == {group}


def test_standard_kernels_come_first():
    names = ["SOFT", "BONE", "mine", "LUNG", "STANDARD"]
    assert sorted(names, key=kernel_preference) == ["STANDARD", "LUNG", "mine", "BONE", "SOFT"]

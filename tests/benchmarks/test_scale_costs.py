from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.scale.costs import READ_FORM, Hardware, Workload, gpu_bound_from_ms, rate, workloads

LOAD = Workload("search", 1000, read_s=2, beside_s=3, network_s=100, write_s=4, input_mb=200, output_mb=300, files=16)
PLENTY = Hardware(window_ms=2.0, actors=1, cores=1000, storage_mb_per_s=1e9)


@pytest.mark.parametrize(
    ("changed", "bottleneck", "seconds"),
    [
        ({}, "inference", 5.0),
        ({"window_ms": 0.1}, "writing", 4.0),
        ({"actors": 5}, "GPU", 2.0),
        ({"cores": 1}, "cores", 9.0),
        ({"storage_mb_per_s": 50.0}, "storage", 10.0),
    ],
)
def test_the_scarcest_of_what_a_study_needs_sets_the_rate(changed, bottleneck, seconds):
    done = rate(LOAD, replace(PLENTY, **changed))
    assert (done.bottleneck, 1 / done.per_s) == (bottleneck, pytest.approx(seconds))


def test_more_gpus_go_faster_until_the_storage_is_full():
    hardware = replace(PLENTY, storage_mb_per_s=500.0)
    rates = [rate(LOAD, hardware, gpus) for gpus in (1, 2, 4, 8, 16)]
    assert [done.per_s for done in rates] == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0])
    assert [done.bottleneck for done in rates] == ["inference"] * 3 + ["storage"] * 2


@pytest.mark.parametrize("actors", [2, 4, 8])
def test_the_gpu_holds_up_from_the_break_even_on(actors):
    limit_ms = gpu_bound_from_ms(LOAD, actors, PLENTY.cores)
    for factor, held_up in ((1.01, True), (0.99, False)):
        done = rate(LOAD, replace(PLENTY, actors=actors, window_ms=factor * limit_ms))
        assert (done.bottleneck == "GPU") is held_up


def test_one_actor_never_fills_a_gpu():
    assert gpu_bound_from_ms(LOAD, 1, 8) == math.inf


def test_workloads_split_inference_by_what_was_timed_without_the_network():
    forms = [{"form": READ_FORM, "mb": 150.0, "read_s": 1.0}]
    shared = {"write_s": 1.0, "output_mb": 10.0, "files": 16}
    cases = [
        {"case": "three listed positions", "windows": 100, "infer_s": 12.0} | shared,
        {"case": "search of the lungs", "windows": 1000, "infer_s": 20.0} | shared,
    ]
    listed, lungs = workloads({"forms": forms, "cases": cases}).values()
    assert (listed.beside_s, listed.network_s) == pytest.approx((2.0, 10.0))
    assert (lungs.beside_s, lungs.network_s) == pytest.approx((20.0, 100.0))
    assert lungs.core_s == pytest.approx(122.0)

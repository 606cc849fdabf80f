"""Predictions by one thread and by several."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mose_med.ct_image import CtImage
from mose_med.inferers.noise import draw_case_noise
from mose_med.inferers.precision import Precision
from mose_med.inferers.windows.asked_regions import searched_region
from mose_med.inferers.windows.blending import Prediction
from mose_med.inferers.windows.cutting import oriented_volume
from mose_med.inferers.windows.predicting import predictions
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.samples import ExpertSamples

PREPROCESSING = Preprocessing(roi_size=(16, 16))


class Watched(MoSE):
    """Counts the windows of its calls, and the threads inside its operations."""

    windows: list[int]
    inside: set[int]
    meet: threading.Barrier | None = None

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        self.windows.append(len(image))
        self.inside.add(torch.get_num_threads())
        if self.meet is not None:
            self.meet.wait(timeout=60)
        shade = image[:, :, None].expand(-1, *latents.shape[:2], -1, -1)
        return ExpertSamples(torch.stack([-shade, shade], dim=3), torch.full((len(image), 2), 0.5))


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def predicted(network: Watched, threads: int, sw_batch_size: int, precision: Precision = "fp32") -> list[Prediction]:
    torch.set_num_threads(threads)
    network.windows, network.inside = [], set()
    values = torch.randn(1, 32, 32, 6, generator=torch.Generator().manual_seed(0)) * 300
    volume = oriented_volume(CtImage(values, torch.eye(4)), "LPS")
    asked = searched_region(volume, None, (16, 16), 0.0)
    noise = draw_case_noise(network, 1, 0, 0, "random")
    return list(
        predictions(network, volume, asked.windows, asked.box, noise, PREPROCESSING, sw_batch_size, precision=precision)
    )


@pytest.fixture
def network() -> Watched:
    return Watched(channels=(4, 8), num_experts=2).eval()


@pytest.mark.parametrize(("threads", "sizes"), [(2, [6] * 4), (4, [3] * 8), (16, [1] * 24)])
def test_several_threads_predict_what_one_does(network, threads: int, sizes: list[int]):
    expected = predicted(network, 1, 8)
    assert (network.windows, network.inside) == ([8] * 3, {1})
    found = predicted(network, threads, 8)
    assert (network.windows, network.inside) == (sizes, {1})
    assert [one.window for one in found] == [one.window for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.foreground, other.foreground)


def test_threads_predict_at_the_same_time(network):
    network.meet = threading.Barrier(3)
    assert len(predicted(network, 3, 6)) == 24  # a single thread would wait for the others in vain


@pytest.mark.parametrize(("threads", "sw_batch_size"), [(4, 1), (9, 4), (16, 3)])
def test_all_threads_together_have_at_most_twice_a_batch(network, threads: int, sw_batch_size: int):
    counting, now, most = threading.Lock(), [0], [0]

    def count(step: int) -> None:
        with counting:
            now[0] += step
            most[0] = max(most[0], now[0])

    def begin(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        count(len(inputs[0]))
        time.sleep(0.01)

    network.register_forward_pre_hook(begin)
    network.register_forward_hook(lambda _, inputs, __: count(-len(inputs[0])))
    assert len(predicted(network, threads, sw_batch_size)) == 24
    assert sw_batch_size < most[0] <= 2 * sw_batch_size


def test_every_thread_computes_in_the_precision(network):
    found: list[bool] = []
    network.register_forward_pre_hook(lambda *_: found.append(torch.is_autocast_enabled("cpu")))
    predicted(network, 2, 8, "bf16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted(network, 2, 8, "fp32")
    assert found == [True] * 4 + [False] * 4

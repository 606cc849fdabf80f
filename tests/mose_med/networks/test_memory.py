from __future__ import annotations

import pytest
import torch

from mose_med.networks import MoSE, memory
from mose_med.networks.memory import lay_channels_last, planar_kernels, spans_at_once


def test_spans_hold_the_whole_batch_once():
    for length in (1, 3, 4, 9):
        spans = spans_at_once(length, 2**14, torch.device("cpu"))
        assert [index for span in spans for index in range(span.start, span.stop)] == list(range(length))
        assert max(span.stop - span.start for span in spans) <= 4
    assert len(spans_at_once(5, 2**20, torch.device("cpu"))) == 5
    assert spans_at_once(64, 2**14, torch.device("cuda")) == [slice(0, 64)]


def test_kernels_keep_their_values():
    network = MoSE(channels=(4, 8), num_experts=2)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    lay_channels_last(network)
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in planar_kernels(network))
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name])


@pytest.mark.parametrize("noise_level", [-1, 0])
@torch.inference_mode()
def test_features_found_piece_by_piece_give_the_samples_of_the_batch(monkeypatch: pytest.MonkeyPatch, noise_level: int):
    torch.manual_seed(0)
    network = MoSE(channels=(4, 8, 8), num_experts=2, noise_level=noise_level).eval()
    image, deviates = torch.randn(5, 1, 16, 12), torch.randn(2, 3, network.noise_dim)
    whole, batches = network.samples_from(image, deviates), []
    network.backbone.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    monkeypatch.setitem(memory._VOXELS_AT_ONCE, "cpu", 2 * 16 * 12)
    encoded = network.encoded(image)
    assert batches == [2, 2, 1]
    for found, expected in zip(encoded.samples(deviates), whole, strict=True):
        torch.testing.assert_close(found, expected)
    one = encoded.samples(deviates, members=[3])
    torch.testing.assert_close(one.logits, whole.logits[3:4])

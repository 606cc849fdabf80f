from __future__ import annotations

import pytest
import torch
from torch import nn

from mose_med.errors import ConfigError
from mose_med.handlers import GradientClipping


@pytest.mark.parametrize(("norm", "expected"), [(1.0, [0.6, 0.8]), (10.0, [3.0, 4.0]), (None, [3.0, 4.0])])
def test_long_gradients_are_scaled_to_the_norm(norm: float | None, expected: list[float]):
    network = nn.Linear(2, 1, bias=False)
    network.weight.grad = torch.tensor([[3.0, 4.0]])
    GradientClipping(network, norm)()
    torch.testing.assert_close(network.weight.grad, torch.tensor([expected]), rtol=1e-5, atol=0)


def test_a_norm_that_is_not_positive_is_refused():
    with pytest.raises(ConfigError, match="max_gradient_norm must be > 0, got 0"):
        GradientClipping(nn.Linear(1, 1), 0)

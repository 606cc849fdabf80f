"""The example of docs/models.md is a model as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mose_med.losses import OptimalTransportLoss
from mose_med.networks import registry
from mose_med.samples import RaterMasks

PAGE = Path(__file__).resolve().parents[3] / "docs" / "models.md"
EXAMPLE = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    exec(EXAMPLE, {"__name__": "example"})
    torch.manual_seed(0)
    return {"name": "my_network", "width": 6}


def test_it_has_thirty_lines():
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 30


@pytest.mark.parametrize("spatial", [(8, 8), (8, 8, 4)])
def test_it_keeps_the_protocol(settings: dict[str, Any], spatial: tuple[int, ...]):
    network = registry.build(settings | {"spatial_dims": len(spatial)}).eval()
    image, deviates = torch.randn(2, 1, *spatial), torch.randn(1, 3, network.noise_dim)
    samples = network.samples_from(image, deviates)
    assert samples.logits.shape == (2, 1, 3, 2, *spatial)
    torch.testing.assert_close(network.samples_from(image, deviates.expand(2, 1, 3, -1)), samples)
    assert registry.registered_name(network) == "my_network"


def test_it_learns_by_the_loss_of_the_package(settings: dict[str, Any]):
    network, image = registry.build(settings), torch.randn(4, 1, 8, 8)
    raters = RaterMasks((image > 0).long().expand(-1, 2, -1, -1), torch.full((4, 2), 0.5))
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    transport, costs = OptimalTransportLoss(), []
    for _ in range(60):
        loss = transport(network(image, samples_per_expert=2, target=raters), raters)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(float(transport.components["transport"]))
    assert costs[-1] < 0.5 * costs[0]


def test_every_model_has_its_command_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    overlays = {path.stem for path in (PAGE.parents[1] / "configs" / "overlays").glob("*.yaml")}
    own = set(registry._OWN) - {"mose"}
    assert [name for name in sorted(overlays & own) if f"--config {name} " not in page] == []

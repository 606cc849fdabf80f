"""The model card of a bundle: what the weights are, what they score, how to use them with PyTorch alone."""

from __future__ import annotations

from mose_med.checkpoint import Checkpoint
from pipelines.evaluation.files import Evaluation, markdown_table

__all__ = ["model_card"]

_NO_SCORES = "No scores: this bundle was exported without `--evaluation`."

_USE = """## Use with PyTorch alone

`models/model.ts` needs nothing but PyTorch. It takes a preprocessed window and returns the probability of every class.
`samples_from` takes standard normal numbers (experts, samples, latent_dim) and returns the logits of every expert's
samples and the probabilities of the experts.

```python
import torch

model = torch.jit.load("models/model.ts", map_location="cpu")
image_hu = torch.full((1, 1, {height}, {width}), -800.0)  # your window, i to the patient's left, j to posterior
image_hu[..., {height} // 2, {width} // 2] = 0.0
image = {windowed}
{standardise}with torch.inference_mode():
    probability = model(image)  # (1, {classes}, {height}, {width}): {class_names}
    logits, expert_probs = model.samples_from(image, torch.randn({experts}, 8, {latent_dim}))
masks = logits.argmax(dim=3)  # (1, {experts}, 8, {height}, {width}): 8 outlines of every expert
```
"""

_STANDARDISE = "image = (image - image.mean()) / image.std(correction=0)\n"


def model_card(readme: str, checkpoint: Checkpoint, sha256: str, evaluation: Evaluation | None) -> str:
    """Text of ``docs/README.md``.

    Args:
        readme: the page of the bundle that the model belongs to.
        checkpoint: the weights.
        sha256: of the checkpoint file they were taken from.
        evaluation: their scores, if there are any.
    """
    scores = markdown_table(evaluation) if evaluation is not None else f"{_NO_SCORES}\n"
    parts = [
        readme.rstrip("\n") + "\n",
        _facts(checkpoint, sha256),
        f"## Measured scores\n\n{scores}",
        _use(checkpoint),
    ]
    return "\n".join(parts)


def _facts(checkpoint: Checkpoint, sha256: str) -> str:
    config = checkpoint.config
    rows = {
        "classes": ", ".join(config.classes),
        "raters of a slice": config.num_raters,
        "network": ", ".join(f"{name} {value}" for name, value in config.network.items()),
        "parameters": sum(value.numel() for value in checkpoint.model.values() if value.is_floating_point()),
        "preprocessing": ", ".join(f"{name} {value}" for name, value in config.preprocessing.to_dict().items()),
        "epoch": checkpoint.epoch,
        "validation": ", ".join(f"{name} {value:.4f}" for name, value in sorted(checkpoint.metrics.items())) or "none",
        "checkpoint SHA-256": f"`{sha256}`",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["## This model", "", "| | |", "|---|---|", *lines, ""])


def _use(checkpoint: Checkpoint) -> str:
    config, network = checkpoint.config, checkpoint.config.network
    window = config.preprocessing.window_hu
    height, width = config.preprocessing.roi_size
    return _USE.format(
        height=height,
        width=width,
        windowed="image_hu" if window is None else f"image_hu.clamp({window[0]}, {window[1]})",
        standardise=_STANDARDISE if config.preprocessing.standardise else "",
        classes=len(config.classes),
        class_names=", ".join(config.classes),
        experts=network.get("num_experts", 4),
        latent_dim=network.get("latent_dim", 1),
    )

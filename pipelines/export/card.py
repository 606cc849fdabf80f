"""The model card of a bundle: what the weights are, what they score, how to use them with PyTorch alone."""

from __future__ import annotations

from typing import Any

from mose_med.checkpoint import Checkpoint, ModelConfig
from mose_med.data.pictures import CITYSCAPES_MEAN, CITYSCAPES_STD
from mose_med.networks.marginal import marginal_network
from pipelines.evaluate.files import Evaluation, markdown_table

__all__ = ["model_card"]

_NO_SCORES = "No scores: this bundle was exported without `--evaluation`."

_MONAI = """#### **With MONAI**

The commands above that begin with `python -m monai.bundle` work here, where `configs` and `models` are. Without
`--checkpoint`, the weights are those of `models/model.pt`, a plain state dict; what they mean is in
`models/model_config.json`, which is read beside them. Config files are code: run only those that you trust.

{needs}
"""
_NEEDS_MOSE_MED = """They need mose_med. Overlays for `configs/train.yaml` are in `configs/overlays`:
`--config_file "['configs/train.yaml','configs/overlays/ema.yaml']"`."""
_NEEDS_MONAI = """They need MONAI, PyTorch and the packages that `configs/metadata.json` names. The modules that the
config files name are in `scripts`, copied from mose_med. Overlays and `configs/mlflow.yaml` are of mose_med alone."""

_USE = """#### **With PyTorch alone**

`models/model.ts` needs nothing but PyTorch. It takes {what} and returns the probability of every class.
{samples_from}
```python
import torch

model = torch.jit.load("models/model.ts", map_location="cpu")
{image}with torch.inference_mode():
    probability = model(image)  # (1, {classes}, {height}, {width}): {class_names}
"""
_SAMPLES_FROM = """`samples_from` takes standard normal numbers (experts, samples, latent_dim) and returns the logits of
every expert's samples and the probabilities of the experts.
"""
_SAMPLES = """    logits, expert_probs = model.samples_from(image, torch.randn({experts}, 8, {latent_dim}))
masks = logits.argmax(dim=3)  # (1, {experts}, 8, {height}, {width}): 8 outlines of every expert
```
"""
_PROBABILITY = """```
"""

_WINDOW = """image_hu = torch.full((1, 1, {height}, {width}), -800.0)  # yours, i to the patient's left, j to posterior
image_hu[..., {height} // 2, {width} // 2] = 0.0
image = {windowed}
"""
_STANDARDISE = "image = (image - image.mean()) / image.std(correction=0)\n"
_PICTURE = """picture = torch.rand(1, {channels}, {height}, {width}) * 255  # yours, rows by columns, red first
mean, std = torch.tensor({mean}), torch.tensor({std})
image = picture.clone()
image[:, :3] = (picture[:, :3] / 255 - mean[:, None, None]) / std[:, None, None]
"""
#: Sections of the READMEs, by the model zoo's template.
_PERFORMANCE, _STEPS, _SYSTEM = (
    f"## **{name}**\n" for name in ("Performance", "Additional Usage Steps", "System Configuration")
)
#: How the READMEs of the bundles name a page that is not in the zip file.
_PAGE, _INSTEAD = "[training](../../../docs/training.md)", "`docs/training.md` of mose_med"


def model_card(
    readme: str, checkpoint: Checkpoint, sha256: str, evaluation: Evaluation | None, *, self_contained: bool = False
) -> str:
    """Text of ``docs/README.md``: the page of the bundle, with what is true of these weights in its sections.

    Args:
        readme: the page of the bundle that the model belongs to.
        checkpoint: the weights.
        sha256: of the checkpoint file they were taken from.
        evaluation: their scores, if there are any.
        self_contained: whether the bundle contains the modules of mose_med.
    """
    scores = markdown_table(evaluation) if evaluation is not None else f"{_NO_SCORES}\n"
    usage = f"{_MONAI.format(needs=_NEEDS_MONAI if self_contained else _NEEDS_MOSE_MED)}\n{_use(checkpoint)}"
    before, _, rest = readme.replace(_PAGE, _INSTEAD).partition(_PERFORMANCE)
    _, _, steps = rest.partition(_STEPS)
    steps, system, after = steps.partition(_SYSTEM)
    parts = [f"{before}{_PERFORMANCE}", scores, _facts(checkpoint, sha256), f"{_STEPS}{steps.rstrip()}\n", usage]
    return "\n".join([*parts, f"{system}{after}"])


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
        "calibration": _calibration(checkpoint.calibration),
        "checkpoint SHA-256": f"`{sha256}`",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["#### **These weights**", "", "| | |", "|---|---|", *lines, ""])


def _calibration(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none"
    gating, logits = (found["temperatures"][name] for name in ("gating", "logits"))
    before, after = (found[stage]["ece_percent"] for stage in ("before", "cross_fitted"))
    return (
        f"temperature of the gating {gating:.2f}, of the logits {logits:.2f}, fitted on the {found['part']} part of "
        f"{found['datalist']} ({found['patients']} patients): ECE {before:.3f} % before, {after:.3f} % cross-fitted"
    )


def _use(checkpoint: Checkpoint) -> str:
    config, network = checkpoint.config, marginal_network(checkpoint.config.to_dict()["network"])
    height, width = config.preprocessing.roi_size
    picture = network.in_channels >= 3
    return (_USE + (_SAMPLES if network.scripts_samples else _PROBABILITY)).format(
        what="a picture" if picture else "a preprocessed window",
        image=_picture(config) if picture else _window(config),
        samples_from=_SAMPLES_FROM if network.scripts_samples else "",
        height=height,
        width=width,
        classes=len(config.classes),
        class_names=", ".join(config.classes),
        experts=network.num_experts,
        latent_dim=network.noise_dim,
    )


def _window(config: ModelConfig) -> str:
    limits = config.preprocessing.window_hu
    height, width = config.preprocessing.roi_size
    windowed = "image_hu" if limits is None else f"image_hu.clamp({limits[0]}, {limits[1]})"
    window = _WINDOW.format(height=height, width=width, windowed=windowed)
    return window + (_STANDARDISE if config.preprocessing.standardise else "")


def _picture(config: ModelConfig) -> str:
    height, width = config.preprocessing.roi_size
    colours = {"mean": CITYSCAPES_MEAN, "std": CITYSCAPES_STD}
    return _PICTURE.format(channels=config.network["in_channels"], height=height, width=width, **colours)

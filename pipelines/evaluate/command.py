"""``mose-med evaluate``: a checkpoint on a datalist, or masks from any tool against references."""

from __future__ import annotations

from typing import Any

import typer

from mose_med.errors import ConfigError
from pipelines.common.command_line.command import command, refuse_others
from pipelines.common.imports import loading
from pipelines.evaluate.options import EvaluateMasksOptions, EvaluateOptions

__all__ = ["register"]

_PAIRS = {EvaluateOptions: ("datalist", "checkpoint"), EvaluateMasksOptions: ("predictions", "references")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        choose=_chosen,
        examples=(
            "mose-med evaluate --datalist data/dataset.json --checkpoint run/best.pt --output-dir scores",
            "mose-med evaluate --predictions masks --references raters --output-dir scores",
        ),
    )(evaluate)


def evaluate(options: EvaluateOptions | EvaluateMasksOptions) -> Any:
    """GED, M-IoU and calibration of a checkpoint on a datalist, or of any tool's masks against references."""
    if isinstance(options, EvaluateMasksOptions):
        with loading():
            from pipelines.evaluate.masks.run import evaluate_masks

        return evaluate_masks(options)
    with loading():
        from pipelines.evaluate.run import evaluate

    return evaluate(options)


def _chosen(given: dict[str, Any]) -> type:
    """The one whose whole pair of inputs is given; options of the other are refused."""
    inputs = [name for pair in _PAIRS.values() for name in pair if name in given]
    kinds = [kind for kind, pair in _PAIRS.items() if set(pair) & set(inputs)]
    if len(kinds) != 1 or not {*_PAIRS[kinds[0]]} - {"checkpoint"} <= given.keys():
        found = " and ".join(f"--{name}" for name in inputs) or "none"
        raise ConfigError(f"give either --datalist (with --checkpoint) or --predictions and --references, got {found}")
    refuse_others(given, kinds[0], f"cannot be combined with --{_PAIRS[kinds[0]][0]}: leave it out")
    return kinds[0]

"""``mose-med evaluate``: a checkpoint on a datalist, or masks from any tool against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mose_med.errors import ConfigError
from pipelines.common.options import CodesName, Device, OutputDir, Overwrite, Quiet, Seed, Threads, command

__all__ = ["register"]

_MODEL = ("datalist", "checkpoint")
_MASKS = ("predictions", "references")
_ONLY_MODEL = ("part", "samples", "seeds", "codes")
_ONLY_MASKS = ("classes", "prediction_weights", "reference_weights")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(evaluate)


def evaluate(
    output_dir: OutputDir,
    datalist: Annotated[
        Path | None, typer.Option(help="dataset.json of a prepare command.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Weights written by mose-med train, or a bundle that holds them.", show_default="shipped"),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Without a model: folder of masks, <case>.nii.gz (4D) or <case>/*.nii.gz.", show_default=False
        ),
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Folder of the raters' masks.", show_default=False)] = None,
    part: Annotated[
        str | None, typer.Option(help="training, validation or test.", show_default="test with --datalist")
    ] = None,
    samples: Annotated[
        list[int] | None, typer.Option(min=1, help="Samples per image, one number or several.", show_default="16")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds to average over, counted up from --seed.", show_default="1")
    ] = None,
    codes: Annotated[
        CodesName | None,
        typer.Option(
            help="Codes of the compact form: points that stand for each expert, or draws.", show_default="quadrature"
        ),
    ] = None,
    classes: Annotated[
        list[int] | None, typer.Option(min=0, help="With --predictions: classes that count.", show_default="1")
    ] = None,
    prediction_weights: Annotated[
        Path | None, typer.Option(help="With --predictions: JSON or CSV of weights by case.", show_default="equal")
    ] = None,
    reference_weights: Annotated[
        Path | None, typer.Option(help="With --references: JSON or CSV of weights by case.", show_default="equal")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """GED, M-IoU and calibration of a checkpoint on a datalist, or of any tool's masks against references."""
    options = dict(locals())
    _check_mode(options)
    shared = {name: options[name] for name in ("output_dir", "threads", "overwrite", "quiet")}
    if predictions is not None:
        from pipelines.evaluate.masks import EvaluateMasksOptions, evaluate_masks

        chosen = {name: options[name] for name in (*_MASKS, *_ONLY_MASKS[1:])}
        evaluate_masks(EvaluateMasksOptions(**shared, **chosen, classes=tuple(classes or (1,))))
        return
    from pipelines.common.shipped_weights import chosen_checkpoint
    from pipelines.evaluate.run import EvaluateOptions, evaluate

    chosen = {name: options[name] for name in ("datalist", "seed", "device")}
    chosen["checkpoint"] = chosen_checkpoint(checkpoint)
    chosen |= {"part": part or "test", "num_samples": tuple(samples or (16,)), "num_seeds": seeds or 1}
    evaluate(EvaluateOptions(**shared, **chosen, codes=(codes or CodesName.QUADRATURE).value))


def _check_mode(options: dict[str, Any]) -> None:
    """Refuse anything but one whole pair of inputs and the options that belong to it."""
    given = {name for name in (*_MODEL, *_MASKS, *_ONLY_MODEL, *_ONLY_MASKS) if options[name]}
    pair = [pair for pair in (_MODEL, _MASKS) if given & set(pair)]
    if len(pair) != 1 or not {*pair[0]} - {"checkpoint"} <= given:
        found = " and ".join(_flag(name) for name in (*_MODEL, *_MASKS) if name in given) or "none"
        raise ConfigError(f"give either --datalist (with --checkpoint) or --predictions and --references, got {found}")
    strange = given & set(_ONLY_MASKS if pair[0] == _MODEL else _ONLY_MODEL)
    if strange:
        raise ConfigError(f"{_flag(min(strange))} does not go with {_flag(pair[0][0])}: leave it out")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

"""The limits of numbers that ``--help`` shows are those that the command line checks, and the code takes them all."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import pytest
import typer
from typer.models import OptionInfo

from data_prep.lidc.collection import CropOptions
from data_prep.phantom import DEMO_SPLIT_CSV
from data_prep.phantom.known_raters import KnownAppearance
from data_prep.split import read_split
from mose_med.api.options import ResultOptions
from mose_med.handlers.epochs import TimeLimit
from pipelines.calibrate.options import CalibrateOptions
from pipelines.cli import app, invoke
from pipelines.evaluate.options import EvaluateOptions
from pipelines.infer.cohort.options import CohortOptions
from pipelines.models.promotion import PromotionRule
from pipelines.prepare.sources.known_phantom import PrepareKnownPhantomOptions
from pipelines.prepare.sources.lidc import PrepareLidcOptions
from pipelines.prepare.sources.phantom import PreparePhantomOptions, demo_patients

#: Smaller than any step that matters.
_STEP = 1e-9
_NOWHERE = Path("nowhere")


class Limit(NamedTuple):
    """A number of a command, and its limits."""

    command: str
    name: str
    flag: str
    low: float | None
    low_is_inside: bool
    high: float | None
    high_is_inside: bool
    whole: bool

    def inside(self) -> list[float]:
        """The smallest and the largest value that the help allows."""
        step = 1 if self.whole else _STEP
        ends = []
        if self.low is not None:
            ends.append(self.low if self.low_is_inside else self.low + step)
        if self.high is not None:
            ends.append(self.high if self.high_is_inside else self.high - step)
        return [int(end) if self.whole else end for end in ends]

    def outside(self) -> list[float]:
        """The values next to them that it does not."""
        step = 1 if self.whole else _STEP
        low = [] if self.low is None else [self.low - step if self.low_is_inside else self.low]
        high = [] if self.high is None else [self.high + step if self.high_is_inside else self.high]
        return [int(end) if self.whole else end for end in low + high]


def commands(group: typer.Typer, path: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in group.registered_commands:
        yield path + (command.name or command.callback.__name__), command.callback
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, f"{path}{inner.name} ")


def numbers() -> Iterator[tuple[str, str, bool, OptionInfo]]:
    """Every option that is a number, or several: its command and name, whether it is whole, and how it is declared."""
    for path, command in commands(app):
        for name, parameter in inspect.signature(command).parameters.items():
            kind, declared = get_args(parameter.annotation)
            kinds = {kind, *get_args(kind), *(inner for outer in get_args(kind) for inner in get_args(outer))}
            several = any(get_origin(outer) is tuple for outer in (kind, *get_args(kind)))
            if isinstance(declared, OptionInfo) and kinds & {int, float} and not several:
                yield path, name, int in kinds, declared


def limit_of(path: str, name: str, whole: bool, declared: OptionInfo) -> Limit:
    """Limits as the help shows them."""
    flag = f"--{name.replace('_', '-')}"
    if whole:
        return Limit(path, name, flag, declared.min, True, declared.max, True, whole)
    shown = re.fullmatch(r"FLOAT (?:([\d.]+)(<=?))?x(?:(<=?)([\d.]+))?", declared.metavar or "")
    assert shown is not None, f"{path} {flag} shows no limits"
    low, low_sign, high_sign, high = shown.groups()
    ends = [None if end is None else float(end) for end in (low, high)]
    return Limit(path, name, flag, ends[0], low_sign == "<=", ends[1], high_sign == "<=", whole)


LIMITS = [limit_of(*number) for number in numbers()]
IDS = [f"{limit.command} {limit.flag}" for limit in LIMITS]


def result_options(name: str) -> Callable[[Any], object]:
    return lambda value: ResultOptions(**{name: value}).check()


def cohort_options(name: str) -> Callable[[Any], object]:
    return lambda value: CohortOptions("out", input_dir=_NOWHERE, **{name: value}).check()


def evaluate_options(name: str) -> Callable[[Any], object]:
    return lambda value: EvaluateOptions(_NOWHERE, _NOWHERE, _NOWHERE, **{name: value})


def calibrate_options(name: str) -> Callable[[Any], object]:
    return lambda value: CalibrateOptions(_NOWHERE, _NOWHERE, _NOWHERE, **{name: value})


#: What checks a number in the code, by command and option, or by option alone where all commands take it alike.
CHECKS: dict[str, Callable[[Any], object]] = {
    "prepare lidc crop": lambda value: CropOptions((value, value)),
    "prepare lidc min_raters": lambda value: CropOptions(min_raters=value),
    "prepare lidc negatives": lambda value: CropOptions(negatives=value),
    "prepare lidc seed": lambda value: CropOptions(seed=value),
    "prepare lidc jobs": lambda value: PrepareLidcOptions(_NOWHERE, _NOWHERE, jobs=value),
    "prepare phantom patients": demo_patients,
    "prepare phantom noise_hu": lambda value: (
        KnownAppearance(noise_hu=value),
        PreparePhantomOptions(_NOWHERE, noise_hu=value),
    ),
    "prepare phantom contrast_hu": lambda value: (
        KnownAppearance(contrast_hu=value),
        PreparePhantomOptions(_NOWHERE, contrast_hu=value),
    ),
    "prepare phantom rater_disagreement": lambda value: KnownAppearance(disagreement_mm=value),
    "prepare phantom seed": lambda value: (
        PrepareKnownPhantomOptions(_NOWHERE, value),
        PreparePhantomOptions(_NOWHERE, value),
    ),
    "train max_minutes": lambda value: TimeLimit(value),
    "calibrate folds": calibrate_options("folds"),
    "calibrate num_samples": calibrate_options("num_samples"),
    "calibrate seed": calibrate_options("seed"),
    "evaluate num_samples": lambda value: evaluate_options("num_samples")((value,)),
    "evaluate seeds": evaluate_options("num_seeds"),
    "evaluate seed": evaluate_options("seed"),
    "infer case_timeout": cohort_options("case_timeout_s"),
    "infer start_timeout": cohort_options("start_timeout_s"),
    **{
        f"infer {name}": cohort_options(name) for name in ("case_depth", "workers", "in_flight", "gpu_share", "threads")
    },
    **{
        f"infer {name}": result_options(name)
        for name in ("overlap", "lesion_threshold", "min_lesion_ml", "min_score", "samples", "sw_batch_size", "seed")
    },
    "retrain margin": lambda value: PromotionRule(margin=value),
    "retrain ece_margin": lambda value: PromotionRule(ece_margin=value),
}


@pytest.mark.parametrize("limit", LIMITS, ids=IDS)
def test_a_number_has_limits_and_the_command_line_keeps_them(limit: Limit, capsys: pytest.CaptureFixture[str]):
    assert limit.outside() != []
    for value in limit.outside() if limit.whole else [*limit.outside(), float("nan")]:
        assert invoke([*limit.command.split(), f"{limit.flag}={value}"]) == 2
        assert f"Invalid value for '{limit.flag}'" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if f"{limit.command} {limit.name}" in CHECKS], ids=str)
def test_the_code_takes_what_the_help_allows(limit: Limit):
    for value in limit.inside():
        CHECKS[f"{limit.command} {limit.name}"](value)


def test_every_check_is_of_an_option():
    assert set(CHECKS) <= {f"{limit.command} {limit.name}" for limit in LIMITS}


def test_the_patients_of_a_phantom_are_told_for_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    invoke(["prepare", "phantom", "--help"])
    shown = " ".join(re.sub(r"\s+", " ", capsys.readouterr().out).split())
    assert f"1 to {len(read_split(DEMO_SPLIT_CSV))} as DICOM, at least 5 as datalist" in shown
    where = ["prepare", "phantom", "--output-dir", str(tmp_path / "out"), "--quiet", "--patients"]
    assert invoke([*where, "4", "--kind", "datalist"]) == 2
    assert "patients must be >= 5, one for each part, got 4" in capsys.readouterr().err
    assert invoke([*where, "5", "--kind", "datalist"]) == 0

"""What ``mose-med info`` prints: the installation, and the commands as they are declared."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import torch
import typer

from mose_med import __version__
from mose_med.networks import registered_networks
from mose_med.options import Declared, without_none
from mose_med.weights.files import weights_sha256
from mose_med.weights.shipped import SHIPPED_BUNDLE, shipped_bundle
from pipelines.common.command_line.command import CommonOptions, options_of
from pipelines.common.command_line.signature import typed_options
from pipelines.common.installation import extras, installed_version
from pipelines.train.config import bundle_names

__all__ = ["describe", "lines"]

_PACKAGES = ("torch", "monai", "numpy", "nibabel", "pydicom", "SimpleITK", "pytorch-ignite", "mlflow", "highdicom")


def describe() -> dict[str, Any]:
    """Everything, by topic, in plain types."""
    from pipelines.cli import app, commands_in_order

    order = commands_in_order()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed_version(name) for name in _PACKAGES},
        "extras": {name: {"installed": not lacks, "missing": lacks} for name, lacks in extras().items()},
        "devices": _devices(),
        "models": {
            "networks": sorted(registered_networks()),
            "bundles": list(bundle_names()),
            "shipped": {"bundle": SHIPPED_BUNDLE, "sha256": weights_sha256(shipped_bundle())},
        },
        "commands": dict(sorted(_commands(app), key=lambda item: order.index(item[0].partition(" ")[0]))),
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The same to read, without the options."""
    yield f"mose-med {found['version']}, Python {found['python']}, {found['platform']}"
    yield "packages: " + ", ".join(f"{name} {version or '-'}" for name, version in found["packages"].items())
    yield "devices: " + ", ".join(device["name"] for device in found["devices"])
    whole = [name for name, extra in found["extras"].items() if extra["installed"]]
    yield f"extras: {', '.join(whole) or 'none'}"
    yield f"extras not installed: {', '.join(name for name in found['extras'] if name not in whole) or 'none'}"
    models = found["models"]
    yield f"bundles: {', '.join(models['bundles'])}; networks: {', '.join(models['networks'])}"
    yield f"shipped weights: {models['shipped']['bundle']}, sha256 {models['shipped']['sha256'][:12]}"
    yield f"commands: {', '.join(found['commands'])}"


def _devices() -> list[dict[str, Any]]:
    cpu = {"name": "cpu", "threads": torch.get_num_threads()}
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        cpu,
        *(
            {"name": f"cuda:{index}", "model": gpu.name, "memory_bytes": gpu.total_memory}
            for index, gpu in enumerate(gpus)
        ),
    ]


def _commands(group: typer.Typer, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for command in group.registered_commands:
        name = str(command.name or getattr(command.callback, "__name__", ""))
        text = (command.callback and command.callback.__doc__) or ""
        kinds = (*reversed(options_of(command.callback)), CommonOptions)
        declared = {each.name: each for kind in kinds for each in typed_options(kind)}
        yield path + name, {"help": text.partition("\n")[0], "options": [_option(each) for each in declared.values()]}
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _commands(inner.typer_instance, f"{path}{inner.name} ")


def _option(declared: Declared) -> dict[str, Any]:
    option, kind = declared.option, without_none(declared.kind)
    if option is None:
        return {"name": declared.name}
    typed = kind if option.typed is None else option.typed
    default = declared.default if option.default is None else option.default
    choices = list(get_args(kind)) if get_origin(kind) is Literal else None
    several = get_origin(typed) is tuple
    if several:
        typed = get_args(typed)[0]
    return {
        "name": declared.name if option.is_argument else f"--{declared.name.replace('_', '-')}",
        "former_name": option.former_name and f"--{option.former_name.replace('_', '-')}",
        "field": declared.field,
        "type": "str" if choices else getattr(typed, "__name__", str(typed)),
        "several": several,
        "choices": choices,
        "limits": option.interval if str(option) else None,
        "required": default is dataclasses.MISSING and kind is declared.kind,
        "default": None if default is dataclasses.MISSING else default,
        "help": option.help,
    }

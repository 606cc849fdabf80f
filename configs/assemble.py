"""Assemble the bundles' config files from the parts they share.

MONAI needs every bundle to be complete and has no include, so this script writes each file from the parts in
``sources``. ``sources/<bundle>.yaml`` holds only the settings in which a bundle differs. Edit the parts, then run::

    python -m configs.assemble
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ROOT", "assembled", "bundles"]

#: Folder of the bundles.
ROOT = Path(__file__).resolve().parent
_SOURCES = ROOT / "sources"

#: A setting of a part: its indentation, name, value and comment.
_SETTING = re.compile(r"^( *)(\w+): ?(.*?)( #.*)?$")
#: What a bundle's images are, which decides how they are read.
_DATA = {"lidc": "slices", "lidc_small": "slices", "cityscapes": "pictures"}
#: How a bundle's learning rate falls, by the overlay of that name.
_SCHEDULE = {"lidc": "linear", "lidc_small": "cosine", "cityscapes": "linear"}
_TRAIN = ("knobs", "training", "{data}_knobs", "model", "model_config", "train", "../overlays/{schedule}", "{data}")
_INFERENCE = ("inference_knobs", "model", "model_config", "{data}_inference", "inference")
_SHARED = ("evaluate.yaml", "multi_gpu_train.yaml", "mlflow.yaml", "logging.conf")
#: Volumes are preprocessed by transforms with the same settings.
_OF_VOLUMES = {
    "mose_med.preprocessing.Preprocessing": "mose_med.data.VolumePreprocessing",
    'preprocessing: "@preprocessing"\n  classes': 'preprocessing: "$@preprocessing.settings"\n  classes',
}
_HEADER = """\
# {title}
# Config files are code: a value that begins with $ is evaluated as Python, so run only files you trust.
# Assembled from the parts in configs/sources by `python -m configs.assemble`: edit those.
"""
_TITLES = {
    "train.yaml": "Train MoSE. Overlays change the knobs; the wiring is below them.",
    "inference.yaml": "Class probabilities of images: the marginal distribution, as one network.",
}


def bundles() -> tuple[str, ...]:
    """Names of all bundles."""
    return tuple(_DATA)


def assembled(bundle: str) -> dict[Path, str]:
    """Content of every file of a bundle that is assembled, by path."""
    folder = ROOT / bundle / "configs"
    texts = {
        folder / "train.yaml": _joined("train.yaml", bundle, _TRAIN),
        folder / "inference.yaml": _joined("inference.yaml", bundle, _INFERENCE),
    }
    return texts | {folder / name: (_SOURCES / name).read_text(encoding="utf-8") for name in _SHARED}


def _joined(name: str, bundle: str, parts: tuple[str, ...]) -> str:
    paths = [
        _SOURCES / f"{part.format(bundle=bundle, data=_DATA[bundle], schedule=_SCHEDULE[bundle])}.yaml"
        for part in parts
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    text = _HEADER.format(title=_TITLES[name]) + "\n" + _with_differences(text, _SOURCES / f"{bundle}.yaml")
    if parts is _INFERENCE and _DATA[bundle] == "slices":
        for of_slices, of_volumes in _OF_VOLUMES.items():
            text = text.replace(of_slices, of_volumes)
    return text


def _with_differences(text: str, path: Path) -> str:
    """A file's text with the values, and the comments if there are any, of a bundle's own settings.

    A setting inside another is named ``network::channels``. A setting that the file does not have is left out.
    """
    if not path.exists():
        return text
    own = dict(entry.split(": ", 1) for entry in re.split(r"\n(?=\w)", path.read_text(encoding="utf-8").rstrip())[1:])
    lines, outer = [], ""
    for line in text.splitlines():
        found = _SETTING.match(line)
        if found and not found[1]:
            outer = found[2]
        name = f"{outer}::{found[2]}" if found and found[1] else outer
        if found and name in own:
            value = own[name]
            line = f"{found[1]}{found[2]}: {value}{'' if '#' in value else found[4] or ''}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all bundles."""
    for bundle in bundles():
        for path, text in assembled(bundle).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

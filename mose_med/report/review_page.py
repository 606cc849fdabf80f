"""The review page: one self-contained HTML file that opens from disk.

The text is a Jinja template beside this module; slices are shown by NiiVue, taken out of an installed package (see
:mod:`mose_med.report.niivue`), and outlines are drawn over them. A content security policy forbids the page to load
anything: it runs the scripts in it, whose hash it names, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined

from mose_med.case_contents.maps import OUTPUTS, kind_of_map
from mose_med.geometry import mm_to_index, spacing_mm
from mose_med.inferers import Lesion
from mose_med.io.case.maps import ReviewedCase, class_if_several
from mose_med.report.colours import CONSENSUS_COLOUR, expert_colour
from mose_med.report.embedding import embedded_volumes, gzip_base64, map_layers
from mose_med.report.histogram import VolumeHistogram, volume_histogram
from mose_med.report.lesion_volumes import VIEW_MM, LesionVolumes
from mose_med.report.niivue import niivue_module

__all__ = ["MAX_VOLUME_BYTES", "review_page"]

#: Characters that the volumes of all lesions together may take in a page.
MAX_VOLUME_BYTES = 12_000_000
_WINDOWS = (
    {"name": "lung", "level": -600, "width": 1500},
    {"name": "nodule", "level": -350, "width": 1100},
    {"name": "soft tissue", "level": 40, "width": 400},
    {"name": "bone", "level": 400, "width": 1800},
    {"name": "all of the CT", "level": 0, "width": 2048},
)
_SCRIPTS = ("outlines.js", "viewer.js")
#: A lesion as large as its 95 % quantile takes this share of the picture's side, within the limits of the zoom.
_SHARE_OF_SIDE = 0.25
_ZOOM = (1.0, 3.0)


class _Entry(NamedTuple):
    """A lesion as the template shows it; ``view`` says whether the viewer has its volumes.

    ``label`` is its class, where the case has several.
    """

    lesion: Lesion
    histogram: VolumeHistogram
    view: bool
    label: str


def review_page(case: ReviewedCase, volumes: Mapping[int, LesionVolumes]) -> str:
    """Compose the page.

    Args:
        case: finished, or still to be written.
        volumes: by the number of the lesion, the most important first. Once they would make the page larger than
            :data:`MAX_VOLUME_BYTES`, this one and the rest stay out of the viewer; their numbers are shown.

    Raises:
        MissingDependencyError: if the package that NiiVue comes from is not installed.
        ConfigError: if that package does not hold it.
    """
    embedded = _within_budget(volumes)
    shown = {number: number for number in embedded} | {
        lesion.number: lesion.same_as for lesion in case.lesions if lesion.same_as in embedded
    }
    niivue = niivue_module()
    entries = [
        _Entry(lesion, _histogram(lesion), lesion.number in shown, class_if_several(case, lesion))
        for lesion in case.lesions
    ]
    return (
        _environment()
        .get_template("review.html")
        .render(
            name=case.name,
            lesions=entries,
            left_out=sum(not entry.view for entry in entries),
            review=_description(case, shown, volumes),
            volumes={f"volume-{n}-{name}": text for n, texts in embedded.items() for name, text in texts.items()},
            niivue=niivue,
            niivue_text=gzip_base64(niivue.source.encode()),
            made=_made(case),
            view_mm=VIEW_MM,
            script="\n".join(_asset(name) for name in _SCRIPTS),
            style=_style(case.num_experts),
        )
    )


def _histogram(lesion: Lesion) -> VolumeHistogram:
    return volume_histogram(lesion.volume_ml.samples, lesion.expert_probs)


def _within_budget(volumes: Mapping[int, LesionVolumes]) -> dict[int, dict[str, str]]:
    embedded: dict[int, dict[str, str]] = {}
    left = MAX_VOLUME_BYTES
    for number, of_lesion in volumes.items():
        texts = embedded_volumes(of_lesion)
        left -= sum(map(len, texts.values()))
        if left < 0:
            break
        embedded[number] = texts
    return embedded


def _description(
    case: ReviewedCase, shown: Mapping[int, int | None], volumes: Mapping[int, LesionVolumes]
) -> dict[str, Any]:
    """What the viewer needs to know besides the volumes, in plain types."""
    lesions = [lesion for lesion in case.lesions if lesion.number in shown]
    samples = [
        {"key": f"expert-{k + 1}-sample-{s + 1}", "colour": expert_colour(k)}
        for k in range(case.num_experts)
        for s in range(case.samples_per_expert)
    ]
    return {
        "experts": case.num_experts,
        "samples": case.samples_per_expert,
        "layers": [{"key": "consensus", "colour": CONSENSUS_COLOUR}, *samples],
        "maps": [layer._asdict() for layer in map_layers(case.num_experts) if case.has(kind_of_map(layer.name))],
        "windows": _WINDOWS,
        "lesions": [
            _lesion_description(lesion, shown[lesion.number] or 0, volumes[shown[lesion.number] or 0])
            for lesion in lesions
        ],
    }


def _lesion_description(lesion: Lesion, holder: int, volumes: LesionVolumes) -> dict[str, Any]:
    shape = volumes.image.shape
    place = np.asarray(lesion.place_mm, dtype=np.float64)
    focus = np.clip(np.rint(mm_to_index(volumes.affine, place)), 0, np.subtract(shape, 1))
    diameter_mm = 10 * (6 / math.pi * max(lesion.volume_ml.p95, 0.01)) ** (1 / 3)
    side_mm = max(np.asarray(shape[:2]) * spacing_mm(volumes.affine)[:2])
    return {
        "number": lesion.number,
        "volumes": holder,
        "shape": list(shape),
        "affine": volumes.affine.tolist(),
        "focus": focus.astype(int).tolist(),
        "zoom": round(float(np.clip(_SHARE_OF_SIDE * side_mm / diameter_mm, *_ZOOM)), 2),
        "expertProbs": lesion.expert_probs.tolist(),
    }


def _number_of_samples(case: ReviewedCase) -> str:
    samples = f"{case.samples_per_expert} samples"
    return f"{case.num_experts} experts x {samples}" if case.num_experts > 1 else samples


def _made(case: ReviewedCase) -> list[tuple[str, str]]:
    """The provenance for the foot of the page; missing entries are skipped."""
    source, options = case.provenance.get("input", {}), case.provenance.get("options", {})
    versions = case.provenance.get("versions", {})
    spacing = " x ".join(f"{edge:.3g}" for edge in spacing_mm(case.affine))
    lines = [
        ("case", case.name),
        ("study", f"{' x '.join(map(str, case.shape))} voxels of {spacing} mm, {source.get('orientation', '')}"),
        ("samples", f"{_number_of_samples(case)}, seed {options.get('seed', '?')}"),
        ("maps not in this case", _left_out(case)),
        ("weights", f"SHA-256 {options['weights_sha256']}" if "weights_sha256" in options else ""),
        ("programs", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return [(label, value) for label, value in lines if value]


def _left_out(case: ReviewedCase) -> str:
    """Kinds of maps that the page could show and the case does not have, and what writes them."""
    shown = {kind_of_map(layer.name) for layer in map_layers(case.num_experts)}
    kinds = [kind for kind in OUTPUTS if kind in shown and not case.has(kind)]
    return f"{', '.join(kinds)} (`mose-med infer --outputs all` writes them)" if kinds else ""


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"ml": _ml, "sha256": _sha256}
    return environment


def _asset(name: str) -> str:
    return (files("mose_med.report") / "page" / name).read_text(encoding="utf-8")


def _style(num_experts: int) -> str:
    colours = [f".expert-{k + 1} {{ --expert: {expert_colour(k)}; }}" for k in range(num_experts)]
    return "\n".join([_asset("review.css"), f".consensus {{ --expert: {CONSENSUS_COLOUR}; }}", *colours])


def _sha256(text: str) -> str:
    """Hash of an inline script or style, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _ml(volume: float, unit: bool = True) -> str:
    digits = 1 if volume >= 10 else 2 if volume >= 1 else 3 if volume > 0 else 0
    return f"{volume:.{digits}f}" + (" ml" if unit else "")

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.montage import write_montage


def coloured_pixels(path: Path) -> int:
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    return int((np.ptp(pixels, axis=2) > 60).sum())


def test_outlines_are_drawn_in_colour(prepared_datalist: Path, tmp_path: Path):
    entries = json.loads(prepared_datalist.read_text())["training"]
    write_montage(tmp_path / "all.png", prepared_datalist.parent, entries, title="t", caption="c")
    write_montage(tmp_path / "one.png", prepared_datalist.parent, entries, title="t", caption="c", max_panels=1)
    assert coloured_pixels(tmp_path / "all.png") > coloured_pixels(tmp_path / "one.png") > 200


def test_every_patient_has_a_turn(prepared_datalist: Path, tmp_path: Path, monkeypatch):
    from data_prep import montage

    content = json.loads(prepared_datalist.read_text())
    entries = [entry for part in ("training", "validation", "test") for entry in content[part]]
    drawn: list[str] = []
    monkeypatch.setattr(montage, "_draw_slice", lambda panel, folder, entry, *_: drawn.append(entry["patient_id"]))
    write_montage(tmp_path / "m.png", prepared_datalist.parent, entries, title="t", caption="c", max_panels=3)
    assert len(set(drawn)) == 3

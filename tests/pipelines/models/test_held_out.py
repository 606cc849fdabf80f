from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.data import load_datalist
from mose_med.errors import ConfigError
from pipelines.models.held_out import merge_datalists, require_held_out


@pytest.fixture
def moved(site_datalist: Path) -> Callable[..., Path]:
    """The site's datalist with the held-out patient 2 in another part, too, under a name of its own."""

    def move(part: str, **change: str) -> Path:
        content = json.loads(site_datalist.read_text())
        content[part] += [entry | change for entry in content["test"] if entry["patient_id"] == "S-test-2"]
        path = site_datalist.with_name(f"moved_{part}.json")
        path.write_text(json.dumps(content | {"name": "moved"}))
        return path

    return move


def test_patients_of_one_part_each_pass(site_datalist: Path, tiny_datalist: Path):
    require_held_out(load_datalist(site_datalist), [load_datalist(site_datalist), load_datalist(tiny_datalist)])


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_held_out_patient_in_other_data_is_named(site_datalist: Path, moved: Callable[..., Path], part: str):
    message = f"patient S-test-2 of the held-out test part of site is in the {part} part of moved: keep every patient"
    with pytest.raises(ConfigError, match=message):
        require_held_out(load_datalist(site_datalist), [load_datalist(moved(part))])


def test_a_patient_under_another_name_is_known_by_the_series(site_datalist: Path, tiny_datalist: Path):
    content = json.loads(tiny_datalist.read_text())
    content["test"][0]["series_uid"] = content["training"][0]["series_uid"]
    path = tiny_datalist.with_name("same_series.json")
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="patient P-1 of the held-out test part of tiny is in the training part"):
        require_held_out(load_datalist(path), [load_datalist(path)])


def test_a_merged_datalist_has_every_slice_at_its_place(site_datalist: Path, tiny_datalist: Path, tmp_path: Path):
    merged = load_datalist(merge_datalists(tmp_path / "merged.json", [site_datalist, tiny_datalist], site_datalist))
    site, tiny = load_datalist(site_datalist), load_datalist(tiny_datalist)
    assert merged.name == "site + tiny"
    for part in ("training", "validation"):
        assert merged.parts[part] == site.parts[part] + tiny.parts[part]
    assert merged.parts["test"] == site.parts["test"]

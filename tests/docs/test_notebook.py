"""The notebook of the documentation runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.notebook import executed

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "python.ipynb"


def kinds(notebook: dict) -> list[set[str]]:
    """Of every output that is no print, the kinds that it shows itself in."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [set(output["data"]) for output in outputs if "data" in output]


def test_the_notebook_runs_and_shows_what_is_kept_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    kept = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    made = executed(kept)
    assert kinds(made) == kinds(kept)
    assert {"text/plain", "image/png"} in kinds(made)
    assert {"text/plain", "text/html"} in kinds(made)
    assert (tmp_path / "case-1234" / "lesions.json").is_file()

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from pipelines.infer.lesion_lines import say_lesions


@pytest.mark.parametrize(
    ("searched", "last"),
    [
        (False, "0 lesions: "),
        (
            True,
            "0 lesions of a search, which misses nodules and may mark what is none; list positions with --nodules",
        ),
    ],
)
def test_the_last_line_says_that_a_search_finds_more_than_lesions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, searched: bool, last: str
):
    (tmp_path / "lesions.json").write_text(json.dumps({"lesions": []}))
    with caplog.at_level(logging.INFO):
        say_lesions(tmp_path, searched=searched)
    assert caplog.messages[-1].startswith(last)
    assert caplog.messages[-1].endswith(str(tmp_path))

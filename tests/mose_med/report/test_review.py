from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mose_med.io.case.folder import open_folder
from mose_med.report.pictures import lesion_pictures
from mose_med.report.review import write_review
from tests.fixtures.report import ReportCase


def test_two_threads_write_the_files_that_one_writes(
    report_case: ReportCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case, image = open_folder(report_case.folder), report_case.image.numpy()[0]
    written = []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        folder = tmp_path / str(threads)
        folder.mkdir()
        files = write_review(folder, case, image)
        assert [file.name for file in files] == ["report.html", "lesion-1.png", "lesion-2.png"]
        pictures = {number: pixels.tobytes() for number, pixels in lesion_pictures(case, image).items()}
        written.append((pictures, [file.read_bytes() for file in files]))
    assert written[0] == written[1]
    assert list(written[0][0]) == [1, 2]

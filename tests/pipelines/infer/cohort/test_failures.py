from __future__ import annotations

import errno
import zipfile
from pathlib import Path

import pytest

from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest
from mose_med.errors import ConfigError, DataError
from pipelines.infer.cohort.failures import describe


@pytest.fixture
def request_of_ann(tmp_path: Path) -> CaseRequest:
    """A study whose names tell whose it is."""
    (tmp_path / "Ann Other" / "series").mkdir(parents=True)
    (tmp_path / "Ann Other" / "series" / "OTHER_ANN_1.dcm").write_bytes(b"")
    return CaseRequest(tmp_path / "Ann Other", tmp_path / "Ann.csv", None, ResultOptions())


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (
            DataError("too few slices"),
            "too few slices",
            "repair the input or leave it out, then run again with --retry",
        ),
        (ConfigError("no CT series"), "no CT series", "correct the input or option and run again"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            "No space left on device",
            "make room for the results",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied", "check the disk"),
        (MemoryError("Unable to allocate"), "out of memory: Unable to allocate", "give a worker more memory"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory: CUDA out of memory", "give a worker more memory"),
        (TypeError("no\nwonder"), "internal error: TypeError: no wonder", "please report it; the traceback is"),
    ],
)
def test_reason_and_advice_fit_the_error(request_of_ann: CaseRequest, error, reason, advice):
    failure = describe(error, "infer", request_of_ann)
    assert failure.stage == "infer"
    assert failure.reason.startswith(reason)
    assert failure.advice.startswith(advice)
    assert "\n" not in failure.reason


def test_paths_file_names_and_uids_are_concealed_but_kept_for_the_journal(request_of_ann: CaseRequest):
    text = f"{request_of_ann.source} and {request_of_ann.nodules}: series/OTHER_ANN_1.dcm of 1.2.840.113619.2.55.3.1"
    failure = describe(DataError(text), "read", request_of_ann)
    assert failure.reason == "the study and the nodule list: file 1 of a UID"
    assert failure.detail == text


def test_names_within_an_archive_are_concealed(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("OTHER_ANN/7", b"")
    request = CaseRequest(tmp_path / "study.zip", None, None, ResultOptions())
    assert describe(DataError("OTHER_ANN/7 has no Rows"), "read", request).reason == "file 1 has no Rows"

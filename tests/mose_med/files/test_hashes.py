from __future__ import annotations

import hashlib
from pathlib import Path

from mose_med.files.hashes import file_sha256


def test_it_is_the_hash_of_the_content(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"content")
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"content").hexdigest()

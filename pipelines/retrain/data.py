"""The datalists of a retraining, read and found to fit each other."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from mose_med.data import Datalist, load_datalist
from mose_med.data.datalist import PARTS
from mose_med.files.hashes import file_sha256
from pipelines.common.runs.content import Content
from pipelines.common.runs.run_folder import COMMAND
from pipelines.models.held_out import require_held_out
from pipelines.retrain.options import RetrainOptions

__all__ = ["RetrainData"]


class RetrainData:
    """The datalists, read and found to fit each other."""

    def __init__(self, options: RetrainOptions) -> None:
        self.options = options
        self.new = load_datalist(options.datalist)
        self.old = None if options.old_datalist is None else load_datalist(options.old_datalist)
        self.held_out_path = options.held_out or options.datalist
        self.held_out = load_datalist(self.held_out_path)
        for part in ("training", "validation"):
            self.new.part(part)
        known = [datalist for datalist in (self.new, self.old) if datalist is not None]
        require_held_out(self.held_out, known)
        if self.old is not None and self.old.parts["test"]:
            require_held_out(self.old, [self.new])

    def all(self) -> list[Datalist]:
        """Every datalist that is used."""
        return [datalist for datalist in (self.new, self.old, self.held_out) if datalist is not None]

    def learnt_from(self) -> list[Path]:
        """Files of the data to train on."""
        old = self.options.old_datalist
        return [self.options.datalist, *([old] if old is not None and self.options.merge else [])]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the datalists, by role."""
        files = {"datalist": self.options.datalist, "old_datalist": self.options.old_datalist}
        files["held_out"] = self.held_out_path
        return {f"{name}_sha256": file_sha256(path) for name, path in files.items() if path is not None}

    def record(self) -> dict[str, Any]:
        """Options that determine the result, except the champion: a retraining may move it itself."""
        names = ("model", "merge", "bundle", "max_epochs", "promote", "margin", "ece_margin")
        settings = {name: getattr(self.options, name) for name in (*names, "num_samples", "seed", "threads")}
        return (
            settings
            | {COMMAND: "retrain", "configs_sha256": [_config_identity(name) for name in self.options.configs]}
            | self.hashes()
        )

    @cached_property
    def content(self) -> Content:
        """Content of images and masks."""
        datalists = {"": self.new, "old ": self.old, "held-out ": self.held_out}
        named = {role: datalist for role, datalist in datalists.items() if datalist is not None}
        return Content.of_datalist(self.options.output_dir, named, PARTS)


def _config_identity(config: str) -> str:
    """SHA-256 of an overlay that is a file; the name of one that is of this version."""
    return file_sha256(Path(config)) if Path(config).is_file() else config

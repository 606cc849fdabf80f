from __future__ import annotations

from contextlib import contextmanager

import pytest

from mose_med.api.stages import Stages


def test_the_stage_that_failed_stays_known():
    stages = Stages()
    with stages.enter("read"):
        pass
    with pytest.raises(OSError, match="disk full"), stages.enter("infer"):
        raise OSError("disk full")
    assert stages.current == "infer"
    assert set(stages.seconds) == {"read_s", "infer_s"}


def test_every_stage_is_entered_within_what_is_put_around_it():
    seen = []

    @contextmanager
    def around(stage):
        seen.append(f"enter {stage}")
        yield
        seen.append(f"leave {stage}")

    stages = Stages(around)
    for stage in ("read", "write"):
        with stages.enter(stage):
            seen.append("work")
    assert seen == ["enter read", "work", "leave read", "enter write", "work", "leave write"]

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.checkpoint import read_checkpoint, write_checkpoint
from mose_med.data import learnt_from, load_datalist
from mose_med.errors import ConfigError, DataError
from pipelines.train.run import TrainOptions, train

STILL = {"learning_rate": 1e-9, "final_learning_rate": 1e-9, "weight_decay": 0.0, "max_epochs": 1}


@pytest.fixture
def options(tiny_datalist: Path, tiny_overlay: Path, tiny_checkpoint: Path, tmp_path: Path) -> TrainOptions:
    """A training that hardly moves, from the weights of the tiny checkpoint."""
    (tmp_path / "still.json").write_text(json.dumps(STILL))
    configs = (str(tiny_overlay), str(tmp_path / "still.json"))
    options = TrainOptions(tiny_datalist, tmp_path / "run", configs, device="cpu", quiet=True)
    return replace(options, initial_weights=tiny_checkpoint)


@pytest.mark.parametrize("source", ["tiny_checkpoint", "tiny_bundle"])
def test_a_training_starts_from_the_given_weights(
    options: TrainOptions, tiny_checkpoint: Path, source: str, request: pytest.FixtureRequest
):
    result = train(replace(options, initial_weights=request.getfixturevalue(source)))
    found, given = (read_checkpoint(path).model for path in (result.output_dir / "last.pt", tiny_checkpoint))
    learnt = [name for name in given if "running_" not in name and "num_batches" not in name]
    assert all(found[name].allclose(given[name], atol=1e-6) for name in learnt)


def test_what_the_weights_have_learnt_from_is_kept(options: TrainOptions, tiny_checkpoint: Path, tmp_path: Path):
    entries = load_datalist(options.datalist).part("training")
    earlier, own = learnt_from(entries[:1]), learnt_from(entries)
    given = replace(read_checkpoint(tiny_checkpoint), learnt_from=[earlier, own])
    write_checkpoint(tmp_path / "given.pt", given)
    result = train(replace(options, initial_weights=tmp_path / "given.pt"))
    for name in ("last.pt", "best.pt"):
        assert read_checkpoint(result.output_dir / name).learnt_from == [own, earlier]


def test_other_initial_weights_are_another_training(options: TrainOptions, tiny_checkpoint: Path, tmp_path: Path):
    train(options)
    other = tmp_path / "other.pt"
    other.write_bytes(tiny_checkpoint.read_bytes() + b"0")
    with pytest.raises(ConfigError, match="was made with initial_weights_sha256="):
        train(replace(options, initial_weights=other))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"network::channels": [4, 6]}, r"tiny\.pt has a different network from the config: size mismatch for "),
        (
            {"preprocessing::window_hu": [-1000, 400]},
            r"preprocessing window_hu is \(-1000\.0, 400\.0\) here but None in",
        ),
    ],
)
def test_weights_of_another_model_are_refused(
    options: TrainOptions, tmp_path: Path, setting: dict[str, object], message: str
):
    (tmp_path / "still.json").write_text(json.dumps(STILL | setting))
    with pytest.raises(ConfigError, match=message):
        train(options)
    assert not options.output_dir.exists()


def test_a_damaged_file_is_named(options: TrainOptions, tmp_path: Path):
    (tmp_path / "damaged.pt").write_bytes(b"PK no weights")
    with pytest.raises(DataError, match=r"checkpoint .*damaged\.pt cannot be read"):
        train(replace(options, initial_weights=tmp_path / "damaged.pt"))

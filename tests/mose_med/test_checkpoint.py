from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.checkpoint import (
    Checkpoint,
    ModelConfig,
    build_network,
    load_weights,
    read_checkpoint,
    write_checkpoint,
    write_weights,
)
from mose_med.errors import ConfigError, DataError, MoseError
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

NETWORK = {"channels": (4, 8), "num_experts": 2, "head": "paper"}


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory")

    write_checkpoint(tmp_path / "best.pt", make_checkpoint())
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MoseError, match=r"memory ran out while checkpoint .*best\.pt was read \(.*\): free some"):
        read_checkpoint(tmp_path / "best.pt")


def make_checkpoint(**changes: object) -> Checkpoint:
    torch.manual_seed(0)
    config = ModelConfig(NETWORK, Preprocessing(roi_size=(16, 16)), ("background", "nodule"), num_raters=4)
    values = {"model": MoSE(**NETWORK).state_dict(), "config": config, "epoch": 3, "metrics": {"ged": 0.25}}
    return Checkpoint(**(values | changes))


def test_everything_comes_back(tmp_path: Path):
    written = make_checkpoint(rng={"torch": torch.get_rng_state()})
    write_checkpoint(tmp_path / "last.pt", written)
    read = read_checkpoint(tmp_path / "last.pt")
    assert read.config == written.config
    assert (read.epoch, read.metrics) == (3, {"ged": 0.25})
    torch.testing.assert_close(read.model, written.model)
    torch.testing.assert_close(read.rng, written.rng)


def test_network_gives_the_same_outputs(tmp_path: Path):
    written = make_checkpoint()
    write_checkpoint(tmp_path / "last.pt", written)
    image, latents = torch.randn(1, 1, 16, 16), torch.rand(2, 3, 1)
    network = MoSE(**NETWORK).eval()
    network.load_state_dict(written.model)
    rebuilt = build_network(read_checkpoint(tmp_path / "last.pt"))
    torch.testing.assert_close(rebuilt(image, latents=latents), network(image, latents=latents))


def test_averaged_weights_are_preferred():
    averaged = {name: torch.zeros_like(value) for name, value in make_checkpoint().model.items()}
    network = build_network(make_checkpoint(ema=averaged))
    assert all(not parameter.any() for parameter in network.parameters())


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "last.pt"
    write_checkpoint(path, make_checkpoint(epoch=1))

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, make_checkpoint(epoch=2))
    assert read_checkpoint(path).epoch == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_there_is_a_checkpoint_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, found = tmp_path / "last.pt", []
    for function in ("replace", "unlink"):
        whole = getattr(Path, function)

        def seen(self: Path, *given: object, _whole: object = whole, **options: object) -> object:
            result = _whole(self, *given, **options)
            found.append(path.is_file())
            return result

        monkeypatch.setattr(Path, function, seen)
    for epoch in (1, 2, 3):
        write_checkpoint(path, make_checkpoint(epoch=epoch), previous=tmp_path / "previous.pt")
    assert found
    assert all(found)
    assert [read_checkpoint(tmp_path / name).epoch for name in ("last.pt", "previous.pt")] == [3, 2]


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"checkpoint .*nothing.pt does not exist"):
        read_checkpoint(tmp_path / "nothing.pt")


@pytest.mark.parametrize("content", [b"", b"abc", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_damaged_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint .*bad.pt cannot be read"):
        read_checkpoint(tmp_path / "bad.pt")


@settings(max_examples=200)
@given(content=st.binary(max_size=40))
def test_no_bytes_are_an_internal_error(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.getbasetemp() / "bytes.pt"
    path.write_bytes(content)
    with pytest.raises(MoseError):
        read_checkpoint(path)


def test_a_folder_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"is a folder, not a file: give a file in it$"):
        read_checkpoint(tmp_path)


def test_truncated_checkpoint_is_named(tmp_path: Path):
    write_checkpoint(tmp_path / "last.pt", make_checkpoint())
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="it is damaged or not a checkpoint"):
        read_checkpoint(tmp_path / "last.pt")


def test_code_in_a_file_is_refused(tmp_path: Path):
    torch.save({"format": 1, "model": Path("x")}, tmp_path / "code.pt")
    with pytest.raises(DataError, match="cannot be read: it is damaged or not a checkpoint") as error:
        read_checkpoint(tmp_path / "code.pt")
    assert "weights_only" not in str(error.value)


def test_weights_alone_come_back_with_what_lies_beside_them(tmp_path: Path):
    written = make_checkpoint()
    write_weights(tmp_path / "model.pt", written)
    read = read_checkpoint(tmp_path / "model.pt")
    assert (read.config, read.epoch, read.metrics) == (written.config, 3, {"ged": 0.25})
    torch.testing.assert_close(dict(read.model), dict(written.model), rtol=0, atol=0)


def test_the_weights_of_a_bundle_are_the_averaged_ones(tmp_path: Path):
    averaged = {name: torch.zeros_like(value) for name, value in make_checkpoint().model.items()}
    write_weights(tmp_path / "model.pt", make_checkpoint(ema=averaged))
    assert not any(value.any() for value in torch.load(tmp_path / "model.pt", weights_only=True).values())


def test_weights_whose_meaning_is_missing_are_refused(tmp_path: Path):
    torch.save(MoSE(**NETWORK).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ConfigError, match=r"bare\.pt holds weights alone: model_config\.json, .* must lie beside it"):
        read_checkpoint(tmp_path / "bare.pt")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", DataError, r"model_config\.json cannot be read"),
        ("[]", ConfigError, r"model_config\.json must have format 1, got list"),
        ('{"format": 2}', ConfigError, r"model_config\.json must have format 1, got 2"),
        ('{"format": 1}', ConfigError, r"model\.pt does not say what its weights mean: KeyError\('network'\)"),
    ],
)
def test_a_meaning_that_cannot_be_used_is_named(tmp_path: Path, text: str, error: type[Exception], message: str):
    write_weights(tmp_path / "model.pt", make_checkpoint())
    (tmp_path / "model_config.json").write_text(text)
    with pytest.raises(error, match=message):
        read_checkpoint(tmp_path / "model.pt")


def test_weights_of_either_form_are_loaded_into_a_network(tmp_path: Path):
    written = make_checkpoint()
    write_weights(tmp_path / "model.pt", written)
    write_checkpoint(tmp_path / "last.pt", written)
    for name in ("model.pt", "last.pt"):
        network = load_weights(MoSE(**NETWORK), tmp_path / name, written.config)
        torch.testing.assert_close(dict(network.state_dict()), dict(written.model), rtol=0, atol=0)


def test_weights_of_another_architecture_are_refused():
    other = MoSE(channels=(4, 16), num_experts=2, head="paper").state_dict()
    with pytest.raises(ConfigError, match=r"weights of best.pt do not fit its architecture: size mismatch"):
        build_network(make_checkpoint(model=other), "best.pt")


def test_unknown_network_setting_is_refused():
    config = ModelConfig(NETWORK | {"depth": 3}, Preprocessing(), ("background", "nodule"), 4)
    with pytest.raises(ConfigError, match=r"best.pt names a network setting that does not exist.*depth"):
        build_network(make_checkpoint(config=config), "best.pt")


@pytest.mark.parametrize(
    ("name", "value", "absent"),
    [("calibration", {"part": "validation"}, None), ("learnt_from", [{"key": "00", "patients": [], "series": []}], [])],
)
def test_an_older_file_lacks_what_was_added(tmp_path: Path, name: str, value: object, absent: object):
    write_checkpoint(tmp_path / "last.pt", make_checkpoint(**{name: value}))
    assert getattr(read_checkpoint(tmp_path / "last.pt"), name) == value
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content[name]
    torch.save(content, tmp_path / "old.pt")
    assert getattr(read_checkpoint(tmp_path / "old.pt"), name) == absent

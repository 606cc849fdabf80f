from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.common.typed_paths import expanded, local_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the user."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("results", "results"),
        ("/data/~x", "/data/~x"),
        ("~backup/x", "~backup/x"),
        ("file:///data/x", "/data/x"),
        ("FILE:///data/x", "/data/x"),
        ("a:/x", "a:/x"),
    ],
)
def test_what_is_typed_is_a_path(typed: str, path: str):
    assert local_path(typed, "--to") == local_path(Path(typed), "--to") == Path(path)


@pytest.mark.parametrize("typed", ["~", "~/x"])
def test_a_leading_tilde_is_the_home_of_the_user(typed: str, home: Path):
    assert local_path(typed, "--to") == Path(expanded(typed)) == home / typed[2:]


@pytest.mark.parametrize("typed", ["s3://bucket/x", "memory://x", "https://a.org/x"])
def test_a_url_is_refused_whether_it_came_as_text_or_as_a_path(typed: str):
    for given in (typed, Path(typed)):
        with pytest.raises(ConfigError) as caught:
            local_path(given, "--to")
        assert str(caught.value) == f"--to must be a path of this machine, got the URL {typed}: name a local one"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--datalist", "s3://b/dataset.json", "--output-dir", "out"], "--datalist"),
        (["train", "--datalist", "dataset.json", "--output-dir", "s3://b/out"], "--output-dir"),
        (["infer", "s3://b/ct.zip", "--output-dir", "out"], "INPUT"),
        (["infer", "ct.nii", "--channel-file", "s3://b/pet.nii", "--output-dir", "out"], "--channel-file"),
        (["info", "--log-file", "s3://b/log.txt"], "--log-file"),
    ],
)
def test_every_path_of_every_command_is_a_local_one(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert invoke(arguments) == 2
    assert f"mose-med: {named} must be a path of this machine, got the URL s3://b/" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_written_at_home(home: Path):
    home.mkdir()
    assert invoke(["info", "--log-file=~/log.txt"]) == 0
    assert (home / "log.txt").is_file()

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import build_network, read_checkpoint, write_checkpoint
from mose_med.errors import ConfigError, DataError, MissingDependencyError, MoseError
from mose_med.handlers import CheckpointKeeper
from pipelines.train.run import TrainOptions, TrainResult, train

Train = Callable[..., TrainResult]


@pytest.fixture(autouse=True)
def _loggers_as_they_were():
    names = ("ignite", "monai.bundle.workflows", "mlflow", "alembic")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def tiny_train(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path) -> Train:
    """Train on the tiny datalist; keyword arguments are options."""

    def run(folder: str = "run", overlay: dict[str, object] | None = None, **options: object) -> TrainResult:
        configs = [str(tiny_overlay)]
        if overlay is not None:
            (tmp_path / "overlay.json").write_text(json.dumps(overlay))
            configs.append(str(tmp_path / "overlay.json"))
        defaults = {"datalist": tiny_datalist, "configs": tuple(configs), "device": "cpu", "quiet": True}
        return train(TrainOptions(output_dir=tmp_path / folder, **(defaults | options)))

    return run


def weights(result: TrainResult) -> torch.Tensor:
    state = read_checkpoint(result.output_dir / "last.pt").model
    return torch.cat([value.flatten().double() for value in state.values()])


def test_a_training_leaves_a_usable_best_checkpoint(tiny_train: Train):
    result = tiny_train()
    checkpoint = read_checkpoint(result.best_checkpoint)
    network = build_network(checkpoint)
    assert (result.epochs, checkpoint.epoch, checkpoint.metrics["val_ged"]) == (2, result.best_epoch, result.best_ged)
    assert network(torch.rand(1, 1, 32, 32)).logits.shape == (1, 2, 2, 2, 32, 32)
    assert checkpoint.config.preprocessing.roi_size == (32, 32)
    assert sorted(p.name for p in result.output_dir.iterdir()) == [
        "best.pt",
        "last.pt",
        "options.json",
        "previous.pt",
        "private",
        "train.yaml",
    ]


def test_the_same_seed_gives_the_same_weights(tiny_train: Train):
    first, second, other = tiny_train("a"), tiny_train("b"), tiny_train("c", seed=1)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_monai_alone_trains_the_same_weights(
    tiny_train: Train, tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path
):
    from monai.bundle import run

    from pipelines.train.config import bundle_configs

    ours = tiny_train()
    with pytest.warns(UserWarning, match="parsing config_file"):
        run(
            config_file=[str(bundle_configs("lidc") / "train.yaml"), str(tiny_overlay)],
            logging_file=False,
            datalist=str(tiny_datalist),
            output_dir=str(tmp_path / "monai"),
            device_name="cpu",
        )
    theirs = read_checkpoint(tmp_path / "monai" / "last.pt").model
    ours_last = read_checkpoint(ours.output_dir / "last.pt").model
    assert all(torch.equal(ours_last[name], theirs[name]) for name in theirs)


def test_an_interrupted_training_ends_in_the_weights_of_a_whole_one(tiny_train: Train, monkeypatch: pytest.MonkeyPatch):
    whole = tiny_train("whole", max_epochs=3)
    stop_in_epoch(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiny_train("stopped", max_epochs=3)
    resumed = tiny_train("stopped", max_epochs=3)
    assert torch.equal(weights(resumed), weights(whole))
    assert (resumed.best_epoch, resumed.best_ged) == (whole.best_epoch, whole.best_ged)


def stop_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next training before it saves that epoch, and no later one."""
    save = CheckpointKeeper.save

    def interrupted(keeper: CheckpointKeeper, engine) -> None:
        if engine.state.epoch == epoch:
            monkeypatch.setattr(CheckpointKeeper, "save", save)
            raise KeyboardInterrupt
        save(keeper, engine)

    monkeypatch.setattr(CheckpointKeeper, "save", interrupted)


ANNEALED = {
    "max_epochs": 5,
    "gamma_schedule": {
        "_target_": "mose_med.losses.PlateauSchedule",
        "values": [0.5, 0.75, 1.0],
        "patience": 1,
        "threshold": 0.9,  # never enough of an improvement
    },
    "+annealing": {
        "samples": {
            "_target_": "mose_med.handlers.Annealing",
            "target": "@network_def",
            "attribute": "samples_per_expert",
            "schedule": {"_target_": "mose_med.losses.LinearSchedule", "start": 1, "end": 3, "epochs": 4},
            "integer": True,
        },
        "merge_iou": {
            "_target_": "mose_med.handlers.Annealing",
            "target": "@loss",
            "attribute": "merge_iou",
            "schedule": {"_target_": "mose_med.losses.LinearSchedule", "start": 1.0, "end": 0.9, "epochs": 2},
        },
        "rater_warmth": {
            "_target_": "mose_med.handlers.Annealing",
            "target": "@loss",
            "attribute": "rater_warmth",
            "schedule": {"_target_": "mose_med.losses.PlateauSchedule", "values": [0.0, 1.0], "patience": 2},
        },
    },
}


def test_a_plateau_survives_an_interruption(tiny_train: Train, monkeypatch: pytest.MonkeyPatch):
    whole = tiny_train("whole", overlay=ANNEALED)
    stop_in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiny_train("stopped", overlay=ANNEALED)
    assert read_checkpoint(whole.output_dir.parent / "stopped" / "last.pt").annealing["gamma"]["stale"] == 1
    resumed = tiny_train("stopped", overlay=ANNEALED)
    last = read_checkpoint(resumed.output_dir / "last.pt")
    assert last.annealing == read_checkpoint(whole.output_dir / "last.pt").annealing
    values = [last.metrics[name] for name in ("gamma", "samples_per_expert", "merge_iou")]
    assert values == [0.75, 3.0, pytest.approx(0.9)]
    assert set(last.annealing) == {"gamma", "samples", "merge_iou", "rater_warmth"}
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("ablation_pairwise", {}),
        ("ablation_uniform", {"gating": "uniform"}),
        ("ablation_deterministic", {"experts": "deterministic", "samples_per_expert": 1}),
        ("one_label", {}),
        ("standard_form", {}),
        ("plateau", {}),
    ],
)
def test_an_overlay_of_the_bundle_trains_and_stops_and_goes_on(
    tiny_train: Train, tiny_overlay: Path, name: str, network: dict[str, object]
):
    options = {"configs": (str(tiny_overlay), name)}
    assert tiny_train(max_minutes=1e-6, **options).epochs == 1
    checkpoint = read_checkpoint(tiny_train(**options).output_dir / "last.pt")
    assert network.items() <= checkpoint.config.network.items()
    build_network(checkpoint)
    assert checkpoint.epoch == 2
    annealed = {"ablation_pairwise": set(), "standard_form": {"gamma", "temperature"}}.get(name, {"gamma"})
    assert set(checkpoint.annealing) == annealed
    assert annealed <= set(checkpoint.metrics)


def test_a_finished_training_is_not_repeated(tiny_train: Train):
    first = tiny_train()
    written = (first.output_dir / "last.pt").stat().st_mtime_ns
    assert tiny_train() == first
    assert (first.output_dir / "last.pt").stat().st_mtime_ns == written


def test_overwrite_with_the_same_options_trains_again(tiny_train: Train):
    first = tiny_train()
    before = (first.output_dir / "last.pt").stat().st_mtime_ns
    (first.output_dir / "best.pt").unlink()
    again = tiny_train(overwrite=True)
    assert (again.best_checkpoint.is_file(), again.best_ged) == (True, first.best_ged)
    assert (again.output_dir / "last.pt").stat().st_mtime_ns > before


def test_float16_is_refused_before_anything_is_written(tiny_train: Train, tmp_path: Path):
    with pytest.raises(ConfigError, match="precision must be auto, fp32 or bf16 for a training, got 'fp16'"):
        tiny_train(precision="fp16")
    assert not (tmp_path / "run").exists()


def test_the_time_limit_stops_and_a_later_run_goes_on(tiny_train: Train):
    first = tiny_train(max_minutes=1e-6)
    assert (first.epochs, first.max_epochs) == (1, 2)
    assert tiny_train().epochs == 2


def test_other_options_in_the_same_folder_are_refused(tiny_train: Train):
    tiny_train()
    with pytest.raises(ConfigError, match=r"made with config learning_rate=0\.001, not 0\.01: name another"):
        tiny_train(overlay={"learning_rate": 0.01})


def test_mlflow_holds_one_run_with_curves_params_and_the_best_checkpoint(tiny_train: Train):
    mlflow = pytest.importorskip("mlflow")
    result = tiny_train(tracking=True, max_minutes=1e-6)
    result = tiny_train(tracking=True)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{result.output_dir}/mlflow.db")
    experiment = client.get_experiment_by_name("mose_med")
    (found,) = client.search_runs(experiment.experiment_id)
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["learning_rate"] == "0.001"
    for name in ("train_loss", "train_transport", "train_kl", "val_ged", "gamma", "learning_rate"):
        assert [point.step for point in client.get_metric_history(found.info.run_id, name)] == [1, 2]
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == [
        "best.pt",
        "packages.txt",
    ]


def test_without_mlflow_a_training_is_not_tracked_and_says_so_once(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = tiny_train(tracking=True)
    said = [record.getMessage() for record in caplog.records if record.name == "pipelines.train.run"]
    assert said == ["training without tracking: mlflow is not installed: run `pip install 'mose-med[mlflow]'`"]
    assert result.epochs == 2
    assert not (result.output_dir / "mlflow.db").exists()


def test_a_named_store_without_mlflow_names_the_remedy_before_anything_is_written(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"mlflow is not installed: run `pip install 'mose-med\[mlflow\]'`"
    ):
        tiny_train(tracking=True, tracking_uri="http://127.0.0.1:1")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"learning_rte": 0.1}, "sets 'learning_rte', which train.yaml does not have: did you mean 'learning_rate'"),
        ({"network::chanels": [4, 8]}, "sets 'network::chanels', .* did you mean 'network::channels'"),
        ({"network": {"head": "paper", "hed": 1}}, "sets 'network::hed'"),
        ({"annealing": {"gama": {}}}, "sets 'annealing::gama', .* did you mean 'annealing::gamma'"),
        ({"loss": {"_target_": "mose_med.losses.PairwiseLoss", "kost": 1}}, "unexpected keyword argument 'kost'"),
        ({"loss": {"_target_": "mose_med.losses.PairwiseLoss"}}, "PairwiseLoss has no attribute 'gamma' to anneal"),
        ({"network::head": "round"}, "head must be 'release' or 'paper', got 'round'"),
        ({"network::channels": "many"}, "network 'mose' cannot be built from its settings"),
        ({"num_raters": 3}, "datalist tiny has num_raters 4, the config says 3"),
        ({"classes": ["background", "cyst"]}, r"the config says \['background', 'cyst'\]"),
        ({"val_interval": 9}, "val_interval must be <= max_epochs = 2, got 9: .*; --set val_interval=1 validates"),
        ({"max_minutes": -1}, "max_minutes must be > 0, got -1"),
        ({"ema_decay": 2}, "decay must be .*, got 2"),
        ({"max_gradient_norm": -1}, "max_gradient_norm must be > 0, got -1"),
        ({"val_samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ({"network::samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ({"gamma_start": 0.1}, r"gamma must be >= 0\.25 \(one over 4 samples\), got 0.1"),
        ({"gamma_epochs": 0, "ignore_index": 0, "energy": 0.5}, "energy must be 0 with ignore_index=0, got 0.5"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_and_nothing_written(
    tiny_train: Train, tmp_path: Path, overlay: dict[str, object], message: str
):
    with pytest.raises(ConfigError, match=message):
        tiny_train(overlay=overlay)
    assert not (tmp_path / "run").exists()


def test_what_would_be_refused_in_the_middle_of_a_training_is_refused_before_it(
    tiny_train: Train, tiny_overlay: Path, tmp_path: Path
):
    configs = (str(tiny_overlay), "energy_distance")
    with pytest.raises(ConfigError, match=r"energy must be 0 with ignore_index=0, got 0\.7"):
        tiny_train(configs=configs, settings=("ignore_index=0",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["1e-2", "0.01"])
def test_a_typed_number_takes_the_place_of_none(tiny_train: Train, text: str):
    result = tiny_train(settings=(f"max_gradient_norm={text}",), max_epochs=1)
    assert "max_gradient_norm: 0.01" in (result.output_dir / "train.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bundle": "liver"}, "bundle must be one of .*lidc.*, got 'liver'"),
        ({"configs": ("dmo",)}, "config must be a YAML or JSON file or one of .*demo.*, got 'dmo'"),
        ({"configs": ("gone.yaml",)}, r"config gone\.yaml does not exist"),
        ({"device": "$print(1)"}, r"device must be auto, cpu, cuda or cuda:N, got '\$print\(1\)'"),
        ({"datalist": Path("gone.json")}, r"datalist gone\.json does not exist"),
    ],
)
def test_an_option_that_does_not_fit_is_named(tiny_train: Train, options: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        tiny_train(**options)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist: was the data folder moved"), (b"x", "cannot be read")]
)
def test_a_slice_that_is_lost_is_named_in_one_line(
    tiny_train: Train, tiny_datalist: Path, tmp_path: Path, num_workers: int, content: bytes | None, said: str
):
    shutil.copytree(tiny_datalist.parent, tmp_path / "data")
    lost = tmp_path / "data" / "nodules" / "P-2_nodule-1_raters.nii"
    lost.unlink()
    if content is not None:
        lost.write_bytes(content)
    with pytest.raises(DataError, match=rf"^image .*P-2_nodule-1_raters\.nii {said}[^\n]*$"):
        tiny_train(datalist=tmp_path / "data" / "dataset.json", overlay={"num_workers": num_workers})


def test_an_empty_part_is_named(tiny_train: Train, tiny_datalist: Path, tmp_path: Path):
    content = json.loads(tiny_datalist.read_text()) | {"validation": []}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="datalist tiny has no validation entries"):
        tiny_train(datalist=tmp_path / "dataset.json")


def test_values_of_the_command_line_are_never_evaluated(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    name = "$__import__('pathlib').Path('evaluated').touch()"
    with pytest.raises(ConfigError, match="does not exist"):
        tiny_train(datalist=Path(name))
    tiny_train(folder=name, max_epochs=1)
    assert (tmp_path / name / "best.pt").is_file()
    assert not (tmp_path / "evaluated").exists()


def test_a_lost_loss_stops_with_one_sentence(tiny_train: Train):
    with pytest.raises(MoseError, match="training loss is inf in epoch 1, iteration 1"):
        tiny_train(overlay={"beta": float("inf")})


def test_a_checkpoint_of_another_architecture_is_refused(tiny_train: Train, tiny_checkpoint: Path):
    result = tiny_train(max_minutes=1e-6)
    other = read_checkpoint(tiny_checkpoint)
    network = other.config.network | {"latent_dim": 7}
    write_checkpoint(result.output_dir / "last.pt", replace(other, config=replace(other.config, network=network)))
    with pytest.raises(ConfigError, match=r"last\.pt has network .*, the config says .*: name another output folder"):
        tiny_train()

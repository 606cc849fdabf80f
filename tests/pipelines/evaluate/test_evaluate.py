from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import Checkpoint, ModelConfig, build_network, read_checkpoint, write_checkpoint
from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.metrics import generalized_energy_distance, matched_iou, predictive_entropy, sample_diversity
from mose_med.networks.registry import network_class
from pipelines.evaluate.files import Evaluation
from pipelines.evaluate.prediction import BatchPrediction
from pipelines.evaluate.run import COMPACT, COMPACT_RANDOM, CONSTANT, MARGINAL, STANDARD, EvaluateOptions, evaluate


@pytest.fixture(scope="module")
def options(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateOptions:
    folder = tmp_path_factory.mktemp("evaluation") / "out"
    return EvaluateOptions(tiny_datalist, tiny_checkpoint, folder, num_samples=(5, 8), device="cpu", quiet=True)


@pytest.fixture(scope="module")
def evaluation(options: EvaluateOptions) -> Evaluation:
    return evaluate(options)


def test_both_forms_and_both_baselines_are_scored(evaluation: Evaluation):
    found = [(row.method, row.num_samples) for row in evaluation.rows]
    compact = [(method, number) for method in (COMPACT, COMPACT_RANDOM, MARGINAL) for number in (4, 8)]
    assert found == [(STANDARD, 5), (STANDARD, 8), *compact, (CONSTANT, 1)]
    assert (evaluation.images, evaluation.patients) == (6, 2)


def test_a_datalist_without_a_training_part_is_scored(options: EvaluateOptions, tmp_path: Path):
    shutil.copytree(options.datalist.parent, tmp_path / "data")
    datalist = tmp_path / "data" / options.datalist.name
    datalist.write_text(json.dumps(json.loads(datalist.read_text()) | {"training": []}))
    found = evaluate(replace(options, datalist=datalist, output_dir=tmp_path / "out"))
    assert CONSTANT not in {row.method for row in found.rows}
    assert found.constant_threshold is None
    assert evaluate(replace(options, datalist=datalist, output_dir=tmp_path / "out")) == found


def test_every_file_is_written(options: EvaluateOptions, evaluation: Evaluation):
    names = {path.name for path in options.output_dir.iterdir()}
    tables = {"metrics.json", "scores.md", "per_slice.csv", "per_case.csv", "options.json"}
    assert names == tables | {"reliability.png", "samples.png", "private"}
    assert "| compact, quadrature codes | 8 |" in (options.output_dir / "scores.md").read_text()
    assert json.loads((options.output_dir / "metrics.json").read_text())["images"] == evaluation.images


def test_rows_are_means_of_the_slices(options: EvaluateOptions, evaluation: Evaluation):
    with (options.output_dir / "per_slice.csv").open() as stream:
        lines = [line for line in csv.DictReader(stream) if (line["method"], line["num_samples"]) == (COMPACT, "8")]
    assert len(lines) == 6
    for name in ("ged", "matched_iou", "diversity"):
        mean = sum(float(line[name]) for line in lines) / 6
        assert getattr(evaluation.row(COMPACT, 8), name).mean == pytest.approx(mean, abs=1e-5)


def test_scores_of_random_samples_are_those_of_the_metrics(options: EvaluateOptions, evaluation: Evaluation):
    checkpoint = read_checkpoint(options.checkpoint)
    slices = MultiRaterDataset(load_datalist(options.datalist).part("test"), checkpoint.config.preprocessing)
    network, scores = build_network(checkpoint), []
    for index, item in enumerate(slices):
        with torch.inference_mode():
            drawn = BatchPrediction(network, item["image"][None], index).standard(8, options.seed)
        raters, shares = item["label"][None], item["rater_weights"][None]
        consensus = ((raters * shares[..., None, None]).sum(dim=1) > 0.5).flatten()
        likely = (drawn.probs[:, 1] > 0.5).flatten()
        total = int(likely.sum() + consensus.sum())
        scores.append(
            (
                generalized_energy_distance(drawn.masks, raters, None, shares, include_self_pairs=False).item(),
                2.0 * int((likely & consensus).sum()) / total if total else 1.0,
                predictive_entropy(drawn.probs).mean().item(),
                sample_diversity(drawn.masks).item(),
            )
        )
    row = evaluation.row(STANDARD, 8)
    found = [row.unbiased_ged.mean, row.consensus_dice.mean, row.entropy.mean, row.diversity.mean]
    assert found == pytest.approx(torch.tensor(scores, dtype=torch.float64).mean(dim=0).tolist(), abs=1e-5)
    assert evaluation.row(COMPACT, 8).unbiased_ged is None


def test_cases_are_means_of_their_slices(options: EvaluateOptions, evaluation: Evaluation):
    with (options.output_dir / "per_slice.csv").open() as stream:
        slices = list(csv.DictReader(stream))
    with (options.output_dir / "per_case.csv").open() as stream:
        cases = list(csv.DictReader(stream))
    assert sum(int(case["slices"]) for case in cases if case["method"] == CONSTANT) == 6
    for case in cases:
        same = ("nodule_id", "method", "num_samples")
        of_case = [float(row["ged"]) for row in slices if all(row[name] == case[name] for name in same)]
        assert float(case["ged"]) == pytest.approx(sum(of_case) / len(of_case), abs=1e-5)


def as_bundle(folder: Path, checkpoint: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    shutil.copyfile(checkpoint, folder / "models" / "model.pt")
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_bundle_is_evaluated_as_its_checkpoint(
    options: EvaluateOptions, evaluation: Evaluation, tmp_path: Path, kind: str
):
    bundle = as_bundle(tmp_path / "all" / "bundle", options.checkpoint)
    if kind == "zip":
        bundle = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", tmp_path / "all"))
    assert evaluate(replace(options, checkpoint=bundle)) == evaluation


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "bundle .*empty must hold one models/model.pt"),
        ("empty.zip", "bundle .* must hold one models/model.pt"),
        ("broken.zip", r"bundle .*broken\.zip cannot be read"),
    ],
)
def test_a_bundle_without_weights_is_refused(options: EvaluateOptions, tmp_path: Path, name: str, message: str):
    (tmp_path / "empty").mkdir()
    shutil.make_archive(str(tmp_path / "empty"), "zip", tmp_path / "empty")
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    with pytest.raises((ConfigError, DataError), match=message):
        evaluate(replace(options, output_dir=tmp_path / "out", checkpoint=tmp_path / name))


def test_the_most_likely_mask_repeated_scores_the_same(options: EvaluateOptions, evaluation: Evaluation):
    checkpoint = read_checkpoint(options.checkpoint)
    network = build_network(checkpoint)
    slices = MultiRaterDataset(load_datalist(options.datalist).part("test"), checkpoint.config.preprocessing)
    item = slices[0]
    with torch.inference_mode():
        samples = network(item["image"][None], 400, torch.Generator().manual_seed(0)).weighted()
    probs = (samples.logits.softmax(dim=2) * samples.weights[:, :, None, None, None]).sum(dim=1)
    mask = probs.argmax(dim=1, keepdim=True).expand(-1, 8, -1, -1)
    raters = item["label"][None], None, item["rater_weights"][None]
    with (options.output_dir / "per_slice.csv").open() as stream:
        line = next(line for line in csv.DictReader(stream) if line["method"] == MARGINAL)
    assert float(line["ged"]) == pytest.approx(generalized_energy_distance(mask, *raters).item(), abs=0.05)
    assert float(line["matched_iou"]) == pytest.approx(matched_iou(mask, *raters).item(), abs=0.05)
    assert evaluation.row(MARGINAL, 8).ece_percent == evaluation.row(COMPACT, 8).ece_percent


@pytest.mark.parametrize("batch_size", [4])
def test_no_score_depends_on_the_batch_size(
    options: EvaluateOptions, evaluation: Evaluation, tmp_path: Path, batch_size: int
):
    again = evaluate(replace(options, output_dir=tmp_path / "out", batch_size=batch_size))
    for row, expected in zip(again.rows, evaluation.rows, strict=True):
        assert row.ged.mean == pytest.approx(expected.ged.mean, abs=1e-4)
        assert row.ece_percent.mean == pytest.approx(expected.ece_percent.mean, abs=1e-3)


def test_numbers_that_give_every_expert_as_many_samples_are_one_row_of_the_compact_form(options, tmp_path):
    once = evaluate(replace(options, output_dir=tmp_path / "once", num_samples=(4,)))
    twice = evaluate(replace(options, output_dir=tmp_path / "twice", num_samples=(4, 5)))
    of_compact = [[row for row in found.rows if row.method.startswith("compact")] for found in (once, twice)]
    assert of_compact[0] == of_compact[1]
    assert [row.num_samples for row in twice.rows if row.method == "standard"] == [4, 5]


def test_several_seeds_give_mean_and_spread(options: EvaluateOptions, tmp_path: Path):
    found = evaluate(replace(options, output_dir=tmp_path / "out", num_samples=(4,), num_seeds=2))
    assert found.seeds == (0, 1)
    assert found.row(STANDARD).ece_percent.std > 0.0
    assert found.row(COMPACT_RANDOM).ece_percent.std > 0.0
    assert found.row(CONSTANT).ece_percent.std == found.row(COMPACT).ece_percent.std == 0.0


def test_random_codes_alone_are_scored_as_beside_quadrature_points(
    options: EvaluateOptions, evaluation: Evaluation, tmp_path: Path
):
    found = evaluate(replace(options, output_dir=tmp_path / "out", codes="random"))
    assert [row.method for row in found.rows if "compact" in row.method] == [COMPACT, COMPACT]
    assert found.row(COMPACT, 8).ged == evaluation.row(COMPACT_RANDOM, 8).ged
    assert (found.codes, evaluation.codes) == ("random", "quadrature")
    with pytest.raises(ConfigError, match="codes must be quadrature or random, got 'sobol'"):
        evaluate(replace(options, codes="sobol"))


@pytest.mark.parametrize(("name", "drawn_again"), [("mc_dropout", True), ("deterministic_unet", False)])
def test_without_experts_both_forms_are_the_same_draws(
    options: EvaluateOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, drawn_again: bool
):
    checkpoint = read_checkpoint(options.checkpoint)
    config = replace(checkpoint.config, network={"channels": [4, 4, 4]}, network_name=name)
    network = network_class(name)(**config.network)
    write_checkpoint(tmp_path / "model.pt", Checkpoint(model=network.state_dict(), config=config))
    asked: list[str] = []
    compact = BatchPrediction.compact
    monkeypatch.setattr(BatchPrediction, "compact", lambda *given: asked.append(given[1:]) or compact(*given))
    found = evaluate(replace(options, checkpoint=tmp_path / "model.pt", output_dir=tmp_path / "out"))
    assert bool(asked) == drawn_again
    for number in (5, 8):
        assert found.row(COMPACT_RANDOM, number).ged == found.row(STANDARD, number).ged


def test_the_same_options_return_what_is_there(options: EvaluateOptions, evaluation: Evaluation):
    stamp = (options.output_dir / "metrics.json").stat().st_mtime_ns
    assert evaluate(options) == evaluation
    assert (options.output_dir / "metrics.json").stat().st_mtime_ns == stamp


def test_overwrite_scores_again_whatever_the_options_and_replacing_others_alone_does_not(
    options: EvaluateOptions, tmp_path: Path
):
    here = replace(options, output_dir=tmp_path / "out")
    evaluate(here)
    times = [(here.output_dir / "scores.md").stat().st_mtime_ns]
    for changes in ({"replace_other": True}, {"overwrite": True}, {"replace_other": True, "num_samples": (4,)}):
        evaluate(replace(here, **changes))
        times.append((here.output_dir / "scores.md").stat().st_mtime_ns)
    assert [later != earlier for earlier, later in pairwise(times)] == [False, True, True]
    with pytest.raises(ConfigError, match=r"was made with num_samples=\[4\]"):
        evaluate(here)


def test_other_options_in_the_same_folder_are_refused(options: EvaluateOptions, evaluation: Evaluation):
    with pytest.raises(ConfigError, match=r"num_samples=\[5, 8\], not \[2\]"):
        evaluate(replace(options, num_samples=(2,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": ()}, r"num_samples must be different numbers >= 1, at least one, got \(\)"),
        ({"num_samples": (0,)}, r"num_samples must be different numbers >= 1, at least one, got \(0,\)"),
        ({"num_seeds": 0}, "num_seeds must be >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"part": "holdout"}, "part must be one of training, validation, test, got 'holdout'"),
        ({"device": "tpu"}, "device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        ({"checkpoint": Path("missing.pt")}, r"checkpoint missing\.pt does not exist"),
        ({"datalist": Path("missing.json")}, r"datalist missing\.json does not exist"),
    ],
)
def test_wrong_options_are_named_and_write_nothing(
    options: EvaluateOptions, tmp_path: Path, change: dict[str, object], message: str
):
    with pytest.raises(ConfigError, match=message):
        evaluate(replace(options, output_dir=tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def changed_checkpoint(source: Path, folder: Path, **config: object) -> Path:
    checkpoint: Checkpoint = read_checkpoint(source)
    values = {name: getattr(checkpoint.config, name) for name in ModelConfig.__dataclass_fields__}
    checkpoint.config = ModelConfig(**(values | config))
    write_checkpoint(folder / "changed.pt", checkpoint)
    return folder / "changed.pt"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"classes": ("background", "lesion")},
            r"has classes \['background', 'nodule'\], .* with \['background', 'lesion'\]",
        ),
        ({"num_raters": 3}, "has num_raters 4, checkpoint .* was trained with 3"),
    ],
)
def test_a_datalist_of_other_data_is_refused(
    options: EvaluateOptions, tmp_path: Path, config: dict[str, object], message: str
):
    checkpoint = changed_checkpoint(options.checkpoint, tmp_path, **config)
    with pytest.raises(ConfigError, match=message):
        evaluate(replace(options, output_dir=tmp_path / "out", checkpoint=checkpoint))
    assert not (tmp_path / "out").exists()


def test_slices_of_another_size_are_refused(options: EvaluateOptions, tmp_path: Path):
    preprocessing = replace(read_checkpoint(options.checkpoint).config.preprocessing, roi_size=(64, 64))
    checkpoint = changed_checkpoint(options.checkpoint, tmp_path, preprocessing=preprocessing)
    with pytest.raises(DataError, match=r"must have slices of \(64, 64\), got \(32, 32\)"):
        evaluate(replace(options, output_dir=tmp_path / "out", checkpoint=checkpoint))
    assert not (tmp_path / "out").exists()


def test_an_empty_part_is_refused(options: EvaluateOptions, tmp_path: Path):
    content = json.loads(options.datalist.read_text()) | {"test": []}
    path = options.datalist.with_name("without_test.json")
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="datalist tiny has no test entries"):
        evaluate(replace(options, output_dir=tmp_path / "out", datalist=path))

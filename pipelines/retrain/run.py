"""``mose-med retrain``: fine-tune the champion on new data, compare on held-out patients, register, promote if better.

<output_dir>/version-1.zip  the champion that the training starts from; champion.json says which it is
             dataset.json   training and validation parts of new and old data, test part of the held-out data
             finetune.json  network and preprocessing of the champion, settings of the fine-tuning
             training/      the training, with evaluation and bundle of the challenger
             result.json    decision, comparison, forgetting; report.md the same to read
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from mose_med.data import Datalist
from mose_med.errors import ConfigError
from mose_med.files.run_lock import only_run
from mose_med.files.whole_files import write_json
from mose_med.handlers import TrainingRun
from mose_med.runtime.device import choose_device
from pipelines.common.runs.content import claim_with_content
from pipelines.evaluate.scored_data import require_as_trained
from pipelines.export.configs import named_bundle
from pipelines.models.comparison import (
    Comparison,
    Scoring,
    SliceScores,
    compare,
    read_model_config,
    score_model,
)
from pipelines.models.held_out import merge_datalists
from pipelines.models.promotion import Outcome, PromotionRule, promote
from pipelines.models.registry import ModelVersion, Registry
from pipelines.models.report import comparison_table
from pipelines.retrain.data import RetrainData
from pipelines.retrain.fine_tuning import fine_tuning_configs
from pipelines.retrain.options import RetrainOptions
from pipelines.retrain.result import RetrainResult, decision_tags, result_of, score_changes, version_name
from pipelines.train.run import TrainOptions
from pipelines.train.torchrun import Process
from pipelines.train.tracked_training import BUNDLE_NAME, sync_training, train_and_evaluate

__all__ = ["RetrainOptions", "retrain"]

RESULT_NAME = "result.json"
REPORT_NAME = "report.md"

_CHAMPION_NAME = "champion.json"
_OWN = (
    _CHAMPION_NAME,
    RESULT_NAME,
    REPORT_NAME,
    "version-*.zip",
    "dataset.json",
    "finetune.json",
    "training/*",
)
_logger = logging.getLogger(__name__)


@only_run()
def retrain(options: RetrainOptions) -> RetrainResult:
    """Retrain, or return the earlier result of the same options.

    Raises:
        ConfigError: if there is no champion, data and champion do not match, or a patient is on both sides.
        DataError: if the store cannot be reached, or a file is damaged.
        MoseError: if the training fails.
    """
    _require_one_process()
    rule = PromotionRule(options.promote, options.margin, options.ece_margin)
    data = RetrainData(options)
    finished = options.output_dir / RESULT_NAME
    if finished.is_file() and not options.overwrite and _claim(options, data):
        _logger.info("%s is done", options.output_dir)
        return RetrainResult(**json.loads(finished.read_text(encoding="utf-8")))
    registry = Registry(options.model, options.tracking_uri)
    _start(options, data, registry)
    return _Retraining(options, data, registry).run(rule)


def _require_one_process() -> None:
    count = Process.from_environment().count
    if count > 1:
        raise ConfigError(f"retrain must run in one process, torchrun has started {count}: run it without torchrun")


def _start(options: RetrainOptions, data: RetrainData, registry: Registry) -> None:
    """Claim the folder and put the champion into it, once it is known to fit the data."""
    champion = registry.champion()
    with tempfile.TemporaryDirectory() as folder:
        bundle = registry.download(champion, Path(folder) / _bundle_name(champion.number))
        model = read_model_config(bundle)
        for datalist in data.all():
            require_as_trained(datalist, model, version_name(champion))
        _bundle_of_model(options, bundle)
        resumed = _claim(options, data)
        if resumed and (options.output_dir / _CHAMPION_NAME).is_file():
            return
        shutil.move(bundle, options.output_dir / bundle.name)
    write_json(options.output_dir / _CHAMPION_NAME, {"version": champion.number})


def _claim(options: RetrainOptions, data: RetrainData) -> bool:
    return claim_with_content(
        options.output_dir,
        data.record(),
        data.content,
        overwrite=options.overwrite,
        accept_version=options.accept_version,
        own=_OWN,
    )


class _Retraining:
    """One retraining of a champion that is there, on data that fit."""

    def __init__(self, options: RetrainOptions, data: RetrainData, registry: Registry) -> None:
        self.options = options
        self.data = data
        self.registry = registry
        record = json.loads((options.output_dir / _CHAMPION_NAME).read_text(encoding="utf-8"))
        self.parent = registry.version(record["version"])
        self.start = self._bundle_of(self.parent)
        device = str(choose_device(options.device))
        self.scoring = Scoring(options.num_samples, options.seed, device, quiet=options.quiet)
        self._scores: dict[tuple[Path, str], SliceScores] = {}

    def run(self, rule: PromotionRule) -> RetrainResult:
        """Train, register, compare, promote, report."""
        training = self._train()
        bundle = training / BUNDLE_NAME
        run = TrainingRun.open(training)
        run.set_tags({"parent_version": str(self.parent.number), "model": self.options.model})
        run.finish()
        copy = sync_training(training, self.registry.uri)
        challenger = self.registry.register(bundle, self._lineage(run), copy)
        outcome = promote(self.registry, challenger, rule, lambda champion: self._compare(champion, bundle))
        forgetting = self._forgetting(outcome.champion, bundle)
        result = result_of(challenger, outcome, forgetting)
        self.registry.set_tags(challenger, decision_tags(outcome, forgetting))
        self._write(result, outcome, forgetting, run)
        return result

    def _bundle_of(self, version: ModelVersion) -> Path:
        return self.registry.download(version, self.options.output_dir / _bundle_name(version.number))

    def _train(self) -> Path:
        options, folder = self.options, self.options.output_dir
        datalist = merge_datalists(folder / "dataset.json", self.data.learnt_from(), self.data.held_out_path)
        bundle, model = _bundle_of_model(options, self.start), read_model_config(self.start)
        train_and_evaluate(
            TrainOptions(
                datalist,
                folder / "training",
                configs=fine_tuning_configs(folder / "finetune.json", model, bundle, options.configs),
                bundle=bundle,
                max_epochs=options.max_epochs,
                seed=options.seed,
                device=options.device,
                threads=options.threads,
                tracking=True,
                tracking_uri=self.registry.uri,
                initial_weights=self.start,
                accept_version=options.accept_version,
                quiet=options.quiet,
            )
        )
        return folder / "training"

    def _lineage(self, run: TrainingRun) -> dict[str, str]:
        commit = run.snapshot().run.data.tags.get("git_commit", "")
        parent = {"parent_version": str(self.parent.number), "git_commit": commit}
        return parent | self.data.hashes() | {"merged_with_old": str(self.options.merge and self.data.old is not None)}

    def _compare(self, champion: ModelVersion, challenger: Path) -> Comparison:
        return self._on(self.data.held_out, champion, challenger)

    def _forgetting(self, champion: ModelVersion, challenger: Path) -> Comparison | None:
        old = self.data.old
        return None if old is None or not old.parts["test"] else self._on(old, champion, challenger)

    def _on(self, datalist: Datalist, champion: ModelVersion, challenger: Path) -> Comparison:
        before = self._scored(self._bundle_of(champion), version_name(champion), datalist)
        after = self._scored(challenger, "the challenger", datalist)
        patients = [entry.patient_id for entry in datalist.part("test")]
        return compare(before, after, patients, f"test part of {datalist.name}")

    def _scored(self, weights: Path, name: str, datalist: Datalist) -> SliceScores:
        key = (weights, f"{datalist.root} {datalist.name}")
        if key not in self._scores:
            self._scores[key] = score_model(weights, name, datalist, "test", self.scoring)
        return self._scores[key]

    def _write(self, result: RetrainResult, outcome: Outcome, forgetting: Comparison | None, run: TrainingRun) -> None:
        folder = self.options.output_dir
        names = (version_name(outcome.champion), f"version {result.version}")
        verdict = f"{'Promoted' if result.promoted else 'Not promoted'}: {result.reason}."
        parts = [f"# Retraining of {self.options.model}", verdict, comparison_table(outcome.comparison, names)]
        if forgetting is not None:
            parts += ["## Forgetting", comparison_table(forgetting, names)]
        (folder / REPORT_NAME).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        run.add_artifact(folder / REPORT_NAME, "comparison")
        run.log_metrics(score_changes("comparison", outcome.comparison))
        if forgetting is not None:
            run.log_metrics(score_changes("forgetting", forgetting))
        sync_training(run.folder, self.registry.uri)
        write_json(folder / RESULT_NAME, asdict(result))
        _logger.info("version %d of %s: %s", result.version, self.options.model, verdict)


def _bundle_name(number: int) -> str:
    return f"version-{number}.zip"


def _bundle_of_model(options: RetrainOptions, champion: Path) -> str:
    return options.bundle or named_bundle(champion)

"""``mose-med evaluate``: how well a checkpoint's samples describe the raters of a datalist, beside two baselines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID
from torch import Tensor
from torch.utils.data import DataLoader

from mose_med.checkpoint import read_checkpoint
from mose_med.data import load_datalist
from mose_med.files.hashes import file_sha256
from mose_med.files.run_lock import only_run
from mose_med.inferers.precision import chosen_precision
from mose_med.report.reliability import write_reliability
from mose_med.report.sample_grid import write_sample_grid
from mose_med.runtime.device import choose_device
from mose_med.samples import RaterMasks, usage_from_probs
from mose_med.weights.files import weights_file
from mose_med.weights.model_files import model_sha256
from pipelines.common.command_line.console import stderr
from pipelines.common.memory import named_memory_errors
from pipelines.common.runs.content import Content, claim_with_content
from pipelines.common.runs.run_folder import COMMAND
from pipelines.evaluate.baselines import ConstantPrediction, best_constant_prediction, rater_probs
from pipelines.evaluate.examples import RaterView, example_indices, rater_views, sample_panel
from pipelines.evaluate.files import (
    METRICS_NAME,
    OWN_FILES,
    TABLE_NAME,
    Evaluation,
    read_evaluation,
    write_cases,
    write_evaluation,
    write_slices,
)
from pipelines.evaluate.modes import TRUTH, ModeScores
from pipelines.evaluate.options import EvaluateOptions
from pipelines.evaluate.prediction import BatchPrediction, SampleSet, scored_network
from pipelines.evaluate.scored_data import (
    CountedClasses,
    ScoredDataset,
    require_as_trained,
    scored_dataset,
    warn_of_training_data,
)
from pipelines.evaluate.scores import MethodScores, ScoreRow, score_row
from pipelines.evaluate.tracking import record_evaluation

__all__ = ["COMPACT", "COMPACT_RANDOM", "CONSTANT", "MARGINAL", "STANDARD", "EvaluateOptions", "evaluate"]

#: Methods, as tables and files name them.
STANDARD = "standard"
COMPACT = "compact"
#: Beside quadrature codes: what publications score.
COMPACT_RANDOM = "compact, random codes"
MARGINAL = "most likely mask"
CONSTANT = "mean training mask"

RELIABILITY_NAME = "reliability.png"
SAMPLES_NAME = "samples.png"

_logger = logging.getLogger(__name__)


@only_run()
def evaluate(options: EvaluateOptions) -> Evaluation:
    """Score a checkpoint, or return the scores that the same options gave before.

    Writes ``metrics.json``, ``scores.md``, ``per_slice.csv``, ``per_case.csv``, ``reliability.png`` and
    ``samples.png``; of data with known modes also ``modes.json`` and ``modes.png``.

    Raises:
        ConfigError: if an option is invalid, the part is empty, or datalist and checkpoint do not belong together.
        DataError: if a slice or the checkpoint cannot be read.
        MoseError: if memory runs out.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    run = _Run(options)
    content = Content.of_datalist(options.output_dir, {"": run.datalist}, (options.part, "training"))
    if claim_with_content(
        options.output_dir,
        run.record(),
        content,
        overwrite=options.overwrite,
        replace_other=options.replace_other,
        own=OWN_FILES,
    ):
        finished = read_evaluation(options.output_dir)
        if finished is not None:
            _logger.info("%s is done", options.output_dir)
            run.track(finished)
            return _told(finished, options)
    with named_memory_errors(
        f"while {options.batch_size} slices were scored at once", "ask for fewer samples, or for --device cpu"
    ):
        return _told(run.evaluate(), options)


def _told(evaluation: Evaluation, options: EvaluateOptions) -> Evaluation:
    """The evaluation; the log gets the scores and their folder."""
    for row in evaluation.rows:
        _logger.info(
            "%s, samples: %d, GED %.4f, M-IoU %.4f, ECE %.2f %%",
            row.method,
            row.num_samples,
            row.ged.mean,
            row.matched_iou.mean,
            row.ece_percent.mean,
        )
    _logger.info("scores are in %s", options.output_dir)
    return evaluation


class _Run:
    """One evaluation: its inputs, read and found to fit each other, and its scores."""

    def __init__(self, options: EvaluateOptions) -> None:
        self.options = options
        self.device = choose_device(options.device)
        self.weights = options.weights
        with weights_file(self.weights) as weights:
            checkpoint = read_checkpoint(weights, self.device)
            self.checkpoint_sha256 = model_sha256(weights)
        self.datalist = load_datalist(options.datalist)
        config, name = checkpoint.config, f"checkpoint {self.weights}"
        require_as_trained(self.datalist, config, name)
        self.network = scored_network(checkpoint, f"checkpoint {self.weights}", self.device)
        choice = chosen_precision(self.network, options.precision, checkpoint.config.preprocessing)
        _logger.info("precision: %s (%s)", *choice)
        self.precision = choice.precision
        self.slices = scored_dataset(self.datalist, options.part, checkpoint.config)
        self.slices[0]
        self.training: ScoredDataset | None = None
        if self.datalist.parts["training"]:
            self.training = scored_dataset(self.datalist, "training", checkpoint.config)
            self.training[0]
        else:
            _logger.info("the datalist has no training part: the mean training mask is left out")
        warn_of_training_data(checkpoint, self.slices.data, f"checkpoint {self.weights}")
        self.num_classes = len(self.datalist.classes)
        self.counted = CountedClasses.of(self.datalist)
        self.modes = ModeScores(self.datalist.flips, self.datalist.classes) if self.datalist.flips else None
        self.scores: dict[tuple[str, int], list[MethodScores]] = {}
        self.views: list[RaterView] = []
        self.expert_probs: list[Tensor] = []

    def record(self) -> dict[str, Any]:
        """What decides the result."""
        return {
            COMMAND: "evaluate",
            "datalist": str(self.options.datalist.resolve()),
            "datalist_sha256": file_sha256(self.options.datalist),
            "checkpoint_sha256": self.checkpoint_sha256,
            "part": self.options.part,
            "num_samples": self.options.num_samples,
            "codes": self.options.codes,
            "seeds": self.options.seeds,
            "precision": self.precision,
        }

    @torch.inference_mode()
    def evaluate(self) -> Evaluation:
        """Score all slices and write the files."""
        with Progress(console=stderr, disable=self.options.quiet, transient=True) as progress:
            constant = self._constant(progress)
            self._score_slices(progress, constant)
        usage = usage_from_probs(torch.cat(self.expert_probs))
        evaluation = Evaluation(
            datalist=self.datalist.name,
            part=self.options.part,
            images=len(self.slices),
            patients=len({entry.patient_id for entry in self.slices.data}),
            seeds=self.options.seeds,
            checkpoint_sha256=self.checkpoint_sha256,
            constant_threshold=None if constant is None else constant.threshold,
            rows=self._rows(),
            expert_probs=tuple(usage.mean_probs.tolist()),
            effective_experts=usage.effective_experts,
            codes=self.options.codes,
        )
        self._write(evaluation)
        self.track(evaluation)
        return evaluation

    def _constant(self, progress: Progress) -> ConstantPrediction | None:
        training = self.training
        if training is None:
            return None
        task = progress.add_task("mean training mask", total=2 * len(training))
        return best_constant_prediction(
            lambda: self._batches(training, progress, task), self.num_classes, self.counted.regions
        )

    def _score_slices(self, progress: Progress, constant: ConstantPrediction | None) -> None:
        task = progress.add_task("evaluate", total=len(self.slices))
        first = 0
        for batch in self._batches(self.slices, progress, task):
            raters = RaterMasks(batch["label"].to(self.device), batch["rater_weights"].to(self.device))
            prediction = BatchPrediction(self.network, batch["image"].to(self.device), first, self.precision)
            self.expert_probs.append(prediction.expert_probs.cpu())
            for position in range(len(self.options.seeds)):
                self._score_forms(prediction, raters, position)
            if self.modes is not None:
                self.modes.add(TRUTH, *raters, raters)
            if constant is not None:
                self._add(CONSTANT, 1, 0, _constant_set(constant, len(raters.masks), self.device), raters)
            entries = self.slices.data[first : first + len(raters.masks)]
            self.views += rater_views(entries, raters, self.counted)
            first += len(raters.masks)

    def _score_forms(self, prediction: BatchPrediction, raters: RaterMasks, position: int) -> None:
        seed, scored = self.options.seeds[position], set[int]()
        for number, standard in prediction.standard_sets(self.options.num_samples, seed).items():
            self._add(STANDARD, number, position, standard, raters)
            # Without experts, both forms are equally probable draws.
            compact = standard if self.network.num_experts == 1 else prediction.compact(number, seed, "random")
            given = compact.masks.shape[1]
            if given in scored:  # a smaller number gave every expert as many
                continue
            scored.add(given)
            if self.options.codes == "quadrature":
                self._add(COMPACT_RANDOM, given, position, compact, raters)
                if position:
                    continue
                # Quadrature codes are the same for every seed; noise fields alone leave nothing to choose.
                if self.network.noise_dim:
                    compact = prediction.compact(number, seed)
            self._add(COMPACT, given, position, compact, raters)
            self._add(MARGINAL, given, position, _most_likely(compact), raters)

    def _add(self, method: str, number: int, position: int, samples: SampleSet, raters: RaterMasks) -> None:
        by_seed = self.scores.setdefault((method, number), [])
        if len(by_seed) <= position:
            by_seed.append(MethodScores(self.counted))
        by_seed[position].add(samples, raters, rater_probs(raters, self.num_classes))
        if self.modes is not None and method in (STANDARD, COMPACT) and not position:
            self.modes.add(f"{method} {number}", samples.masks, samples.weights, raters)

    def _rows(self) -> tuple[ScoreRow, ...]:
        order = (STANDARD, COMPACT, COMPACT_RANDOM, MARGINAL, CONSTANT)
        keys = sorted(self.scores, key=lambda key: (order.index(key[0]), key[1]))
        patients = [entry.patient_id for entry in self.slices.data]
        return tuple(score_row(*key, self.scores[key], patients, random=key[0] == STANDARD) for key in keys)

    def _batches(self, dataset: ScoredDataset, progress: Progress, task: TaskID) -> Iterator[dict[str, Any]]:
        for batch in DataLoader(dataset, batch_size=self.options.batch_size):
            yield batch
            progress.advance(task, len(batch["image"]))

    def _write(self, evaluation: Evaluation) -> None:
        folder = self.options.output_dir
        write_slices(folder, self.slices.data, self.scores, self.options.seeds)
        write_cases(folder, self.slices.data, self.scores)
        curves = {
            f"{method} {number}" if number > 1 else method: by_seed[0].reliability()
            for (method, number), by_seed in sorted(self.scores.items())
            if method != MARGINAL
        }
        title = f"{evaluation.datalist}, {evaluation.part}"
        write_reliability(folder / RELIABILITY_NAME, curves, title=title)
        if self.modes is not None:
            self.modes.write(folder, title)
        outlined = "Flipped areas are outlined. " if self.datalist.flips else ""
        self._write_examples(folder / SAMPLES_NAME, f"{title}. {outlined}{self.datalist.source}")
        write_evaluation(folder, evaluation)

    def track(self, evaluation: Evaluation) -> None:
        """Add the scores to the tracked run of the training, if there is one."""
        folder = self.options.output_dir
        kept = [folder / name for name in (METRICS_NAME, TABLE_NAME, RELIABILITY_NAME, SAMPLES_NAME)]
        record_evaluation(self.weights, self.options.datalist, evaluation, kept)

    def _write_examples(self, path: Path, caption: str) -> None:
        scores = next(by_seed[0] for (method, _), by_seed in self.scores.items() if method == COMPACT)
        panels, picture = [], bool(self.datalist.flips)
        for index in example_indices(self.views):
            item = self.slices[index]
            prediction = BatchPrediction(self.network, item["image"][None].to(self.device), index, self.precision)
            samples = prediction.experts(self.options.num_samples[0], self.options.seed, self.options.codes)
            ged = scores.slices[index].ged
            panels.append(sample_panel(self.slices.data[index], item, samples, ged, self.counted, picture=picture))
        write_sample_grid(path, panels, caption=caption)


def _constant_set(constant: ConstantPrediction, images: int, device: torch.device) -> SampleSet:
    mask, probs = constant.mask.to(device), constant.probs.to(device)
    return SampleSet(
        mask.expand(images, 1, *mask.shape), torch.ones(images, 1, device=device), probs.expand(images, *probs.shape)
    )


def _most_likely(samples: SampleSet) -> SampleSet:
    """One mask, the argmax of the marginal; N copies of it score the same."""
    mask = samples.probs.argmax(dim=1, keepdim=True).to(torch.uint8)
    return SampleSet(mask, torch.ones_like(samples.weights[:, :1]), samples.probs)

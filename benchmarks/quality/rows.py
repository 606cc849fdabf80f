"""The scores of a row: its training, unless it is done, and its evaluation."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.quality.nodules import training_variant
from benchmarks.quality.recipes import SAMPLES, Recipe
from mose_med.checkpoint import build_network, read_checkpoint
from pipelines.evaluate.files import Evaluation
from pipelines.evaluate.run import COMPACT, STANDARD, EvaluateOptions, evaluate
from pipelines.train.run import TrainOptions, train


def add_row(file: Path, table_name: str, row: dict[str, Any]) -> None:
    """Add the scores of a row to the file of a table; those of the same row with any of its seeds are replaced."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"table": table_name, "rows": []}
    require_table(file, table_name)
    others = [
        other for other in content["rows"] if other["row"] != row["row"] or not {*other["seeds"]} & {*row["seeds"]}
    ]
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(json.dumps(content | {"rows": [*others, row]}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)


def require_table(file: Path, table_name: str) -> None:
    """Refuse a file that has the results of another table."""
    known = json.loads(file.read_text(encoding="utf-8"))["table"] if file.is_file() else table_name
    if known != table_name:
        raise SystemExit(f"{file} must be of the table {table_name}, it is of {known}: name another file")


def scores(
    recipe: Recipe, datalist: Path, work: Path, seed: int, threads: int, num_samples: tuple[int, ...] = SAMPLES
) -> dict[str, Any]:
    """Train a row with a seed, unless it is done, and score its best epoch on validation."""
    folder = work / "rows" / f"{recipe.key}_seed-{seed}"
    settings = _written(folder / "settings.yaml", recipe.of_network)
    model = [recipe.model] if recipe.model else []
    if recipe.of_model:
        model.append(_written(folder / "of_model.yaml", yaml.safe_dump(dict(recipe.of_model))))
    common = {
        "datalist": training_variant(datalist, recipe.share, recipe.labels),
        "bundle": "lidc_small",
        "configs": (*recipe.overlays, settings, *model),
    }
    trained = train(TrainOptions(output_dir=folder / "training", seed=seed, threads=threads, **common))
    evaluation = evaluate(
        EvaluateOptions(
            datalist=datalist,
            checkpoint=trained.best_checkpoint,
            output_dir=folder
            / ("evaluation" if num_samples == SAMPLES else "_".join(map(str, ("evaluation", *num_samples)))),
            part="validation",
            num_samples=num_samples,
            threads=threads,
        )
    )
    costs = folder / "costs.json"
    if not costs.is_file():
        seconds = {"seconds of an epoch": _seconds_of_an_epoch(common)}
        costs.write_text(json.dumps(seconds | _costs(trained.best_checkpoint)), encoding="utf-8")
    return {"best_epoch": trained.best_epoch, **_numbers(evaluation), **json.loads(costs.read_text(encoding="utf-8"))}


def _seconds_of_an_epoch(common: dict[str, Any]) -> float:
    """Processor seconds of the first epoch on one thread, with all that is read and built for it.

    A validation is part of it where the row has one in every epoch.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        train(TrainOptions(output_dir=Path(folder) / "training", threads=1, max_minutes=1e-6, **common))
        return time.process_time() - start


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def _costs(checkpoint: Path) -> dict[str, float]:
    """Parameters, and processor seconds of one thread for 16 samples of 8 images of 64 x 64, the least of three."""
    network = build_network(read_checkpoint(checkpoint)).to(memory_format=torch.channels_last)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    image = torch.zeros(8, 1, 64, 64)
    deviates = torch.randn(network.num_experts, max(1, 16 // network.num_experts), network.noise_dim)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        with torch.inference_mode():
            network.samples_from(image, deviates)
        seconds.append(time.process_time() - start)
    return {"parameters": float(parameters), "seconds of 16 samples of 8 images": min(seconds)}


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    """Scores of both forms; ``of patients`` is half of the 95 % interval over them."""
    found: dict[str, Any] = {"effective_experts": evaluation.effective_experts}
    for row in evaluation.rows:
        if row.method in (COMPACT, STANDARD):
            name = f"{row.method} {row.num_samples}"
            values = {"GED": row.ged, "GED without self-pairs": row.unbiased_ged, "M-IoU": row.matched_iou}
            values |= {"ECE": row.ece_percent, "Dice": row.consensus_dice}
            values |= {"diversity": row.diversity, "entropy": row.entropy}
            found |= {f"{name} {score}": value.mean for score, value in values.items() if value is not None}
            for score, (low, high) in {"GED": row.ged_interval, "M-IoU": row.matched_iou_interval}.items():
                found[f"{name} {score} of patients"] = (high - low) / 2
    return found


def mean_scores(scored: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation over the seeds, by score."""
    return {
        name: {
            "mean": statistics.fmean(values := [float(scores[name]) for scores in scored]),
            "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        }
        for name in scored[0]
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the compact form at 16 samples, and of GED at more."""
    number = next(name.split()[1] for name in rows[0] if name.startswith(f"{COMPACT} "))
    columns = (f"{COMPACT} {number} GED", f"{COMPACT} 100 GED", f"{COMPACT} {number} M-IoU", f"{COMPACT} {number} ECE")
    columns += ("standard 16 GED", "effective_experts")
    lines = ["| row | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        shown = (_shown(row.get(column)) for column in columns)
        lines.append(f"| {row['row']} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _shown(score: dict[str, float] | None) -> str:
    if score is None:
        return ""
    return f"{score['mean']:.4f}" + (f" ± {score['std']:.4f}" if score["std"] else "")

"""Figures of the model card: the ten worst slices, and how each expert draws.

    python -m benchmarks.quality.model_card --datalist D.json --evaluation FOLDER [--checkpoint W] --output-dir docs

The evaluation is a folder of ``mose-med evaluate`` with the same checkpoint and part; it says which slices are worst.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.networks import MoSE
from mose_med.report.sample_grid import write_sample_grid
from mose_med.weights.files import weights_file
from mose_med.weights.shipped import chosen_checkpoint
from pipelines.evaluate.examples import sample_panel
from pipelines.evaluate.prediction import BatchPrediction
from pipelines.evaluate.scored_data import CountedClasses

WORST_NAME, EXPERTS_NAME = "worst_cases.png", "experts.png"
_WORST = 10
_COMPACT = "compact"


class ExpertHabits(NamedTuple):
    """Of every expert over the slices, (N, K).

    Attributes:
        probs: probability.
        areas: area over the mean area of the raters who drew something; 0 where the expert draws nothing.
        perimeters: length of the outline over that of a disc of the same area; nan where there is none.
    """

    probs: NDArray[np.float64]
    areas: NDArray[np.float64]
    perimeters: NDArray[np.float64]


def main() -> None:
    """Write both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datalist", type=Path, required=True, help="dataset.json")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of mose-med evaluate")
    parser.add_argument("--checkpoint", type=Path, help="weights; the shipped ones if left out")
    parser.add_argument("--part", default="validation", help="of the split, as evaluated")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder of the figures")
    options = parser.parse_args()
    with weights_file(chosen_checkpoint(options.checkpoint)) as path:
        checkpoint = read_checkpoint(path)
    network = build_network(checkpoint)
    datalist = load_datalist(options.datalist)
    dataset = MultiRaterDataset(datalist.part(options.part), checkpoint.config.preprocessing)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    geds = slice_geds(options.evaluation)
    worst = [int(index) for index in np.argsort(geds)[::-1][:_WORST]]
    counted = CountedClasses.of(datalist)
    with torch.inference_mode():
        panels = []
        for index in worst:
            item = dataset[index]
            samples = BatchPrediction(network, item["image"][None], index).experts(16, 0)
            panels.append(sample_panel(dataset.data[index], item, samples, float(geds[index]), counted))
        write_sample_grid(options.output_dir / WORST_NAME, panels, caption=datalist.source)
        draw_experts(options.output_dir / EXPERTS_NAME, expert_habits(network, dataset), datalist.source)


def slice_geds(evaluation: Path) -> NDArray[np.float64]:
    """GED of every slice, in the order of the datalist, with the fewest samples that were scored."""
    with (evaluation / "per_slice.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == _COMPACT]
    fewest = min(int(row["num_samples"]) for row in rows)
    return np.array([float(row["ged"]) for row in rows if int(row["num_samples"]) == fewest])


def expert_habits(network: MoSE, dataset: MultiRaterDataset) -> ExpertHabits:
    """What every expert draws at the mean of its prior."""
    rows = list(_habits(network, dataset))
    probs, areas, perimeters = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return ExpertHabits(probs, areas, perimeters)


def _habits(
    network: MoSE, dataset: MultiRaterDataset
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    for index in range(len(dataset)):
        item = dataset[index]
        samples = network(item["image"][None], latents=network.priors.mean[:, None])
        masks = samples.logits[0, :, 0].argmax(dim=1) > 0
        drawn = item["label"].gt(0).flatten(1).sum(dim=1).double()
        of_raters = float(drawn[drawn > 0].mean())
        areas = masks.flatten(1).sum(dim=1).double().numpy()
        relative = areas / of_raters
        round_ones = 2.0 * np.sqrt(np.pi * np.maximum(areas, 1.0))
        perimeters = np.where(areas > 0, _perimeters(masks) / round_ones, np.nan)
        yield samples.expert_probs[0].double().numpy(), relative, perimeters


def _perimeters(masks: Tensor) -> NDArray[np.float64]:
    """Length of the outlines (K,) in voxels: edges between voxels, times pi/4, which is right for a large circle."""
    padded = torch.nn.functional.pad(masks.int(), (1, 1, 1, 1))
    edges = sum(padded.diff(dim=axis).abs().flatten(1).sum(dim=1) for axis in (1, 2))
    return np.asarray(edges, dtype=np.float64) * np.pi / 4


def draw_experts(path: Path, habits: ExpertHabits, source: str) -> None:
    """One column an expert, by descending mean probability: how probable, how large, how smooth, how often empty."""
    order = np.argsort(habits.probs.mean(axis=0))[::-1]
    names = [str(index + 1) for index in order]
    figure = Figure(figsize=(0.55 * len(order) + 2, 8), layout="constrained")
    rows = figure.subplots(4, 1, sharex=True)
    places = np.arange(1, len(order) + 1)
    rows[0].boxplot(habits.probs[:, order], showfliers=False)
    rows[0].set_ylabel("probability")
    empty = (habits.areas == 0)[:, order].mean(axis=0)
    rows[1].bar(places, empty, color="0.6")
    rows[1].set_ylabel("share of empty\nmasks")
    for axis, values, label in (
        (rows[2], habits.areas, "area over that of\nraters who drew"),
        (rows[3], habits.perimeters, "outline over that\nof a disc"),
    ):
        drawn = [column[np.isfinite(column) & (column > 0)] for column in values[:, order].T]
        axis.boxplot(drawn, showfliers=False)
        axis.axhline(1.0, color="0.5", linewidth=0.8, zorder=0)
        axis.set_ylabel(label)
    rows[3].set_xticks(places, names)
    rows[3].set_xlabel("expert, the most probable first")
    figure.text(0.5, -0.02, source, ha="center", va="top", fontsize=7, color="0.3")
    figure.savefig(path, dpi=110, metadata={"Software": None}, bbox_inches="tight")


if __name__ == "__main__":
    main()

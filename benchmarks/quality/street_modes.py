"""Known modes: MoSE learns the 32 modes of drawn street scenes, and is asked how often it predicts each.

    python -m benchmarks.quality.street_modes --work FOLDER --output street_modes.json

The scenes lie in a folder like that of Cityscapes, so that everything after the drawing is what the real pictures take:
``prepare cityscapes``, ``train --bundle cityscapes``, ``evaluate``. Each step resumes. The network and the pictures are
small. With the real pictures in place of the drawn ones, and without the settings, these are the paper's tables 3 and
8 and its figures 6 to 8:

    mose-med prepare cityscapes --root CITYSCAPES --prediction-channel PREDICTIONS --output-dir prepared
    mose-med train --bundle cityscapes --datalist prepared/dataset.json --output-dir run
    mose-med evaluate --checkpoint run/best.pt --datalist prepared/dataset.json --num-samples 16 35 --output-dir scores
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import machine
from pipelines.evaluate.modes import MODES_NAME
from pipelines.evaluate.run import COMPACT, STANDARD, EvaluateOptions, evaluate
from pipelines.prepare.source_options import PrepareCityscapesOptions
from pipelines.prepare.sources.cityscapes import prepare_cityscapes
from pipelines.train.run import TrainOptions, train

ROWS, COLUMNS = 64, 128
#: Pictures by part and city of the layout; one of the cities is that of the validation part.
PICTURES = {("train", "aachen"): 240, ("train", "ulm"): 24, ("val", "frankfurt"): 48}
#: Label id and colour of what is drawn.
ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, PERSON, CAR = (7, 8, 11, 21, 23, 24, 26)
COLOURS = {
    ROAD: (90, 90, 100),
    SIDEWALK: (170, 150, 160),
    BUILDING: (130, 90, 70),
    VEGETATION: (60, 130, 60),
    SKY: (150, 190, 230),
    PERSON: (200, 60, 60),
    CAR: (40, 50, 150),
}
NOISE = 12.0
SETTINGS = {
    "network::channels": [16, 32, 64, 96],
    "network::latent_dim": 1,
    "preprocessing::roi_size": [ROWS, ROWS],
    "max_epochs": 60,
    "gamma_epochs": 600,
    "val_interval": 5,
    "learning_rate": 0.002,
    "batch_norm_momentum": 0.1,
}
SAMPLES = (16, 35)


def main() -> None:
    """Draw, prepare, train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of scenes, data, training and evaluation")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    draw_scenes(options.work / "scenes")
    prepared = prepare_cityscapes(
        PrepareCityscapesOptions(options.work / "scenes", options.work / "data", size=(ROWS, COLUMNS))
    )
    settings = options.work / "settings.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    overlays = ("without_prediction", "cosine", str(settings))
    trained = train(
        TrainOptions(
            prepared.datalist, options.work / "training", bundle="cityscapes", configs=overlays, threads=options.threads
        )
    )
    found = evaluate(
        EvaluateOptions(
            prepared.datalist,
            trained.best_checkpoint,
            options.work / "scores",
            num_samples=SAMPLES,
            threads=options.threads,
        )
    )
    shares = json.loads((options.work / "scores" / MODES_NAME).read_text(encoding="utf-8"))
    rows = [
        {
            "method": row.method,
            "samples": row.num_samples,
            "GED": row.ged.mean,
            "M-IoU": row.matched_iou.mean,
            "ECE": row.ece_percent.mean,
        }
        for row in found.rows
        if row.method in (STANDARD, COMPACT)
    ]
    content = {"machine": machine(), "best_epoch": trained.best_epoch, "rows": rows, **shares}
    for row in rows:
        print(row)
    for method, of_method in shares["shares"].items():
        flips = ", ".join(f"{share:.3f}" for share in of_method["flips"])
        print(f"{method}: flips {flips}; half the L1 distance of the modes' shares {of_method['distance']:.3f}")
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def draw_scenes(root: Path) -> None:
    """Write the pictures and their annotations in the layout of Cityscapes, unless they are there."""
    for (split, city), number in PICTURES.items():
        folders = [root / kind / split / city for kind in ("leftImg8bit", "gtFine")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            name = f"{city}_{index:06d}_000000"
            image = folders[0] / f"{name}_leftImg8bit.png"
            if not image.is_file():
                seed = [sum(city.encode()), index]
                labels, colours = scene(np.random.default_rng(seed))
                Image.fromarray(labels).save(folders[1] / f"{name}_gtFine_labelIds.png")
                Image.fromarray(colours).save(image)


def scene(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Label ids (rows, columns) and colours (rows, columns, 3) of a street that ends at the horizon."""
    labels = np.full((ROWS, COLUMNS), SKY, dtype=np.uint8)
    horizon = int(random.integers(24, 34))
    _fill_columns(labels, horizon, BUILDING, random, lowest=4)
    _fill_columns(labels, horizon, VEGETATION, random, lowest=horizon // 2)
    centre, width = random.uniform(0.4, 0.6) * COLUMNS, random.uniform(0.5, 0.8) * COLUMNS
    columns = np.arange(COLUMNS)
    for row in range(horizon, ROWS):
        half = 0.5 * width * (row - horizon + 2) / (ROWS - horizon)
        labels[row] = np.where(np.abs(columns - centre) < half, ROAD, SIDEWALK)
    for label, height, wide in ((CAR, 0.35, 1.6), (PERSON, 0.6, 0.3)):
        for _ in range(int(random.integers(1, 4))):
            _stand(labels, horizon, label, height, wide, random)
    colours = np.zeros((ROWS, COLUMNS, 3))
    for label, colour in COLOURS.items():
        colours[labels == label] = np.asarray(colour) + random.normal(0.0, 8.0, 3)
    colours += random.normal(0.0, NOISE, colours.shape)
    return labels, colours.clip(0, 255).astype(np.uint8)


def _fill_columns(
    labels: NDArray[np.uint8], horizon: int, label: int, random: np.random.Generator, *, lowest: int
) -> None:
    """Blocks that stand on the horizon, side by side with gaps."""
    column = 0
    while column < COLUMNS:
        width, top = int(random.integers(8, 28)), int(random.integers(lowest, horizon))
        if random.random() < 0.6:
            labels[top:horizon, column : column + width] = label
        column += width


def _stand(
    labels: NDArray[np.uint8], horizon: int, label: int, height: float, wide: float, random: np.random.Generator
) -> None:
    """A block that is the larger the further below the horizon it stands."""
    foot = int(random.integers(horizon + 6, ROWS))
    rows = int(height * (foot - horizon + 6))
    left = int(random.integers(0, COLUMNS - 4))
    labels[max(0, foot - rows) : foot, left : left + max(3, int(rows * wide))] = label


if __name__ == "__main__":
    main()

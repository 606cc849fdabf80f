from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from mose_med.metrics import CalibrationError
from mose_med.report.reliability import write_reliability
from mose_med.report.sample_grid import SamplePanel, sample_grid, shown_square, write_sample_grid


def panel(seed: int, empty: bool = False) -> SamplePanel:
    rng = np.random.default_rng(seed)
    masks = np.zeros((4, 2, 12, 12), bool)
    if not empty:
        masks[:, :, 3:8, 3:9] = True
    return SamplePanel(
        title="nodule",
        image=np.zeros((12, 12)) if empty else rng.normal(size=(12, 12)),
        rater_masks=masks[:, 0],
        expert_probs=np.array([0.1, 0.2, 0.3, 0.4]),
        expert_masks=masks,
        probability=masks.mean(axis=(0, 1)),
        entropy=np.zeros((12, 12)),
    )


def test_sample_grid_is_drawn_alike_twice(tmp_path: Path):
    for name in ("a.png", "b.png"):
        write_sample_grid(tmp_path / name, [panel(0), panel(1)], caption="data")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.05


def test_sample_grid_of_nothing_is_drawn_without_a_warning(tmp_path: Path):
    write_sample_grid(tmp_path / "empty.png", [panel(0, empty=True)])
    assert (tmp_path / "empty.png").stat().st_size > 0


def of_experts(number: int) -> SamplePanel:
    full = panel(0)
    probs = np.full(number, 1 / number)
    return full._replace(expert_probs=probs, expert_masks=full.expert_masks[:number])


@pytest.mark.parametrize("experts", [1, 2, 4])
def test_headings_keep_apart(experts: int):
    figure = sample_grid([of_experts(experts)])
    extents = [text.get_window_extent() for text in figure.texts[:3]]
    assert extents[0].x1 < extents[1].x0
    assert extents[1].x1 < extents[2].x0


def test_a_model_without_experts_shows_samples():
    titles = [axes.get_title() for axes in sample_grid([of_experts(1)]).axes]
    assert titles == ["nodule", "2 samples", "probability", "entropy (0 to ln 2 nats)"]


@pytest.mark.parametrize("curves", [1, 3])
def test_reliability_is_drawn(tmp_path: Path, curves: int):
    error = CalibrationError()
    error.update(*torch.rand(2, 1, 2, 30, generator=torch.Generator().manual_seed(0)).softmax(dim=2))
    write_reliability(tmp_path / "r.png", {f"curve {i}": error.reliability() for i in range(curves)}, title="title")
    assert imread(tmp_path / "r.png")[..., :3].std() > 0.05


def test_every_mask_is_inside_the_square_that_is_shown():
    masks = np.zeros((2, 2, 128, 100), bool)
    masks[0, 0, 40:44, 10:14] = masks[1, 1, 90:100, 80:90] = True
    rows, columns = shown_square(panel(0)._replace(image=masks[0, 0], rater_masks=masks[0], expert_masks=masks))
    assert (rows, columns) == (slice(20, 120), slice(0, 100))
    assert masks[..., rows, columns].sum() == masks.sum()


def test_the_square_is_the_image_where_the_image_is_small():
    assert shown_square(panel(0, empty=True)) == (slice(0, 12), slice(0, 12))


def test_a_long_caption_makes_the_figure_taller_not_wider(tmp_path: Path):
    for name, words in (("short.png", 1), ("long.png", 200)):
        write_sample_grid(tmp_path / name, [panel(0)], caption="words " * words)
    short, long = imread(tmp_path / "short.png"), imread(tmp_path / "long.png")
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]
    assert (long[:, :5] == 1).all()
    assert (long[:, -5:] == 1).all()


@pytest.mark.parametrize("which", ["rater_masks", "expert_masks"])
def test_empty_masks_are_told_in_words(tmp_path: Path, which: str):
    drawn = panel(0)
    write_sample_grid(tmp_path / "drawn.png", [drawn])
    masks = getattr(drawn, which).copy()
    masks[0] = False
    write_sample_grid(tmp_path / "empty.png", [drawn._replace(**{which: masks})])
    assert (tmp_path / "drawn.png").read_bytes() != (tmp_path / "empty.png").read_bytes()

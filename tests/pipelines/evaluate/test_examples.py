from __future__ import annotations

import pytest
import torch

from mose_med.samples import RaterMasks
from pipelines.evaluate.examples import RaterView, example_indices, rater_views
from pipelines.evaluate.scored_data import CountedClasses


def test_examples_run_from_agreement_to_disagreement():
    views = [RaterView(name, 50, value) for name, value in (("a", 0.9), ("b", 0.1), ("c", 0.5), ("d", 0.3))]
    assert example_indices(views, 3) == [1, 2, 0]


def test_a_nodule_is_shown_once_at_its_largest():
    views = [RaterView("a", pixels, 0.5) for pixels in (40, 60, 50)] + [RaterView("b", 31, 0.2)]
    assert example_indices(views) == [3, 1]


def test_tiny_nodules_and_full_agreement_are_left_out_where_others_are_left():
    views = [RaterView("tiny", 5, 0.5), RaterView("agreed", 90, 0.0), RaterView("a", 90, 0.2), RaterView("b", 90, 0.4)]
    assert example_indices(views, 2) == [2, 3]
    assert example_indices(views, 3) == [1, 3, 0]


@pytest.mark.parametrize("number", [1, 4])
def test_a_single_slice_is_an_example(number: int):
    assert example_indices([RaterView("a", 0, 0.0)], number) == [0]


def test_views_hold_size_and_disagreement(tiny_datalist):
    from mose_med.data import load_datalist

    masks = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    masks[0, 0, :4, :4] = 1
    entry = load_datalist(tiny_datalist).part("test")[0]
    found = rater_views([entry], RaterMasks(masks, torch.tensor([[0.5, 0.5]])), CountedClasses((1,), None, (1,)))
    assert found == [RaterView(entry.nodule_id, 16, 0.5)]

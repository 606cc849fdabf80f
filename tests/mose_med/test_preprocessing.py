from __future__ import annotations

import pytest
import torch

from mose_med.errors import ConfigError, ShapeError
from mose_med.preprocessing import Preprocessing


def test_each_window_is_standardised_on_its_own():
    image = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 300 - 500
    result = Preprocessing()(image)
    torch.testing.assert_close(result.mean(dim=(-2, -1)), torch.zeros(3, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std(dim=(-2, -1), correction=0), torch.ones(3, 1))


def test_constant_window_standardises_to_zero():
    result = Preprocessing(window_hu=(-1000, 400))(torch.full((1, 4, 4), -3000.0))
    torch.testing.assert_close(result, torch.zeros(1, 4, 4))


def test_window_clips():
    result = Preprocessing(window_hu=(-100, 100), standardise=False)(torch.tensor([[-500.0, 0.0, 500.0]]))
    torch.testing.assert_close(result, torch.tensor([[-100.0, 0.0, 100.0]]))


def test_integers_are_accepted():
    assert Preprocessing()(torch.zeros(2, 2, dtype=torch.int16)).dtype == torch.float32


def test_plain_types_come_back():
    preprocessing = Preprocessing(window_hu=(-1000, 400), roi_size=(64, 64))
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_hu": (400, -1000)}, r"window_hu must be \(low, high\) with low < high, got \(400.0, -1000.0\)"),
        ({"roi_size": (0, 128)}, r"roi_size must be two sizes >= 1, got \(0, 128\)"),
        ({"spacing_mm": 0.0}, "spacing_mm must be > 0, or None for the case's own, got 0.0"),
        ({"spacing_mm": float("nan")}, "spacing_mm must be > 0, or None for the case's own, got nan"),
        ({"windw": 1}, "preprocessing has no setting 'windw'"),
    ],
)
def test_wrong_setting_is_named(values: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Preprocessing.from_dict(values)


def test_other_preprocessing_is_refused():
    with pytest.raises(ConfigError, match=r"preprocessing standardise is True here but False in model.pt"):
        Preprocessing().require_equal(Preprocessing(standardise=False), "model.pt")


def test_vector_is_refused():
    with pytest.raises(ShapeError, match=r"image_hu must have at least 2 axes, got shape \(4,\)"):
        Preprocessing()(torch.zeros(4))


def test_each_channel_is_scaled_in_its_own_way():
    both = Preprocessing(channels=({"window": (-1000, 400)}, {"standardise": False, "fill": 0}))
    image = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)) * 900
    scaled = both(image)
    assert torch.equal(scaled[:, 0], Preprocessing(window_hu=(-1000, 400))(image[:, 0]))
    assert torch.equal(scaled[:, 1], image[:, 1])
    assert both.fills(2) == (-1024.0, 0.0)


def test_channels_are_told_where_they_are_not_alike():
    both = Preprocessing(channels=({"window": (0, 10)}, {}))
    assert both.to_dict()["channels"][0] == {"window": [0.0, 10.0], "standardise": True, "fill": -1024.0}
    assert Preprocessing.from_dict(both.to_dict()) == both
    assert "channels" not in Preprocessing().to_dict()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([{"windows": (0, 1)}], "channels of preprocessing have no setting 'windows'"),
        ([{"window": (1, 0)}], r"window of a channel must be \(low, high\) with low < high, got \(1.0, 0.0\)"),
    ],
)
def test_a_scaling_that_does_not_fit_is_refused(channels: list[dict[str, object]], message: str):
    with pytest.raises(ConfigError, match=message):
        Preprocessing(channels=channels)


def test_other_channels_than_there_are_scalings_are_refused():
    with pytest.raises(ShapeError, match="image_hu must have 2 channels, one for each scaling, got shape"):
        Preprocessing(channels=({}, {}))(torch.zeros(1, 3, 4, 4))

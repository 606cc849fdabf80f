from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mose_med.errors import ConfigError
from mose_med.io import read_ct, read_dicom

SPACING = (0.6, 0.7)  # along i and j


def phantom(points_lps: np.ndarray) -> np.ndarray:
    """HU that grow linearly in every direction, so that linear interpolation is exact."""
    return 3 * points_lps[..., 0] - 4 * points_lps[..., 1] + 5 * points_lps[..., 2]


def write_phantom(write, folder: Path, positions: np.ndarray, orientation: tuple[float, ...], hu=phantom) -> None:
    """Slices of 40 x 30 pixels at positions (n, 3), in hundredths of a HU."""
    rows, cols = np.mgrid[:30, :40]
    u, v = np.reshape(orientation, (2, 3))
    for number, position in enumerate(positions):
        points = position + cols[..., None] * SPACING[0] * u + rows[..., None] * SPACING[1] * v
        stored = np.rint(hu(points) * 50)
        write(
            folder / str(number),
            stored[None],
            orientation=orientation,
            SeriesInstanceUID="1.2",
            RescaleSlope=0.02,
            ImagePositionPatient=position.round(6).tolist(),
        )


def seen_points(image) -> np.ndarray:
    """LPS points (i, j, k, 3) of all voxels."""
    affine = np.diag([-1, -1, 1, 1]) @ np.asarray(image.affine)
    index = np.stack(np.meshgrid(*map(np.arange, image.shape[1:]), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def tilted(degrees: float) -> tuple[tuple[float, ...], np.ndarray]:
    """Orientation, and positions of slices whose table moves along z."""
    angle = np.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
    return orientation, np.array([[-10.0, -20.0, -50.0 + 1.5 * k] for k in range(8)])


@pytest.mark.parametrize("degrees", [5.0, 22.5, -30.0])
def test_a_tilted_gantry_is_made_good(tmp_path: Path, write_ct_series, degrees: float):
    orientation, positions = tilted(degrees)
    write_phantom(write_ct_series, tmp_path, positions, orientation)
    study = read_dicom(tmp_path, gantry_tilt="correct")
    directions = np.asarray(study.image.affine)[:3, :3] / np.linalg.norm(study.image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    values, expected = study.image.numpy()[0], phantom(seen_points(study.image))
    seen = values != -1024
    # The outermost pixels of a slice reach half a pixel past their centres.
    inside = seen[:, 1:-1] & seen[:, :-2] & seen[:, 2:]
    assert inside.mean() > 0.7
    np.testing.assert_allclose(values[:, 1:-1][inside], expected[:, 1:-1][inside], atol=0.6)
    assert f"gantry tilt of {abs(degrees):.1f} degrees" in study.corrections[0]


def test_a_ball_in_a_tilted_gantry_keeps_place_and_volume(tmp_path: Path, write_ct_series):
    orientation, positions = tilted(15.0)
    u, v = np.reshape(orientation, (2, 3))
    centre = positions[4] + 20 * SPACING[0] * u + 12 * SPACING[1] * v
    write_phantom(
        write_ct_series,
        tmp_path,
        positions,
        orientation,
        hu=lambda points: np.where(np.linalg.norm(points - centre, axis=-1) < 4.0, 0.0, -500.0),
    )
    image = read_ct(tmp_path, gantry_tilt="correct")
    ball = image.numpy()[0] > -250
    np.testing.assert_allclose(seen_points(image)[ball].mean(axis=0), centre, atol=0.1)
    volume = ball.sum() * abs(np.linalg.det(np.asarray(image.affine)[:3, :3]))
    np.testing.assert_allclose(volume, 4 / 3 * np.pi * 4.0**3, rtol=0.05)


def test_uneven_slices_are_interpolated(tmp_path: Path, write_ct_series):
    z_mm = [0.0, 1.0, 2.0, 3.4, 4.0, 7.0, 8.0]
    positions = np.array([[-10.0, -20.0, z] for z in z_mm])
    write_phantom(write_ct_series, tmp_path, positions, (1, 0, 0, 0, 1, 0))
    study = read_dicom(tmp_path, slice_spacing="resample")
    assert study.image.shape == (1, 40, 30, 9)
    assert study.image.dtype == torch.int16
    np.testing.assert_allclose(np.asarray(study.image.affine)[2], [0, 0, 1, 0])
    np.testing.assert_allclose(study.image.numpy()[0], phantom(seen_points(study.image)), atol=0.6)
    assert "slices are missing: up to 3.000 mm apart where 1.000 mm is usual" in study.corrections[0]


def test_tilt_and_a_gap_are_made_good_together(tmp_path: Path, write_ct_series):
    orientation, positions = tilted(10.0)
    write_phantom(write_ct_series, tmp_path, np.delete(positions, 3, axis=0), orientation)
    study = read_dicom(tmp_path, gantry_tilt="correct", slice_spacing="resample")
    assert study.image.shape[-1] == 8
    values, expected = study.image.numpy()[0], phantom(seen_points(study.image))
    np.testing.assert_allclose(values[:, 3:-3], expected[:, 3:-3], atol=0.6)
    assert len(study.corrections) == 2


def test_slices_that_fit_are_left_as_they_are(tmp_path: Path, write_ct_series):
    stored = np.random.default_rng(0).integers(-1000, 1000, size=(5, 7, 6))
    write_ct_series(tmp_path, stored)
    study = read_dicom(tmp_path, slice_spacing="resample", gantry_tilt="correct")
    np.testing.assert_array_equal(study.image.numpy()[0], stored.transpose(2, 1, 0))
    assert study.corrections == ()


def test_corrections_are_warned_of(tmp_path: Path, write_ct_series, caplog):
    write_ct_series(tmp_path, np.zeros((6, 4, 5)))[2].unlink()
    with caplog.at_level(logging.WARNING):
        read_ct(tmp_path, slice_spacing="resample")
    assert "corrected: slices are missing: up to 4.000 mm apart where 2.000 mm is usual" in caplog.text


@pytest.mark.parametrize(("option", "choices"), [("slice_spacing", "refuse or resample"), ("gantry_tilt", "refuse or")])
def test_other_options_are_refused(tmp_path: Path, write_ct_series, option: str, choices: str):
    write_ct_series(tmp_path, np.zeros((4, 4, 5)))
    with pytest.raises(ConfigError, match=f"{option} must be {choices}.*, got 'maybe'"):
        read_ct(tmp_path, **{option: "maybe"})


def test_padding_is_air_before_slices_are_mixed(tmp_path: Path, write_ct_series, edit_dicom, caplog):
    volumes = []
    for outside in (-1024, -3024):
        stored = np.full((6, 8, 8), 40)
        stored[:, :3] = outside
        folder = tmp_path / str(outside)
        for k, path in enumerate(write_ct_series(folder, stored)):
            edit_dicom(path, ImagePositionPatient=[-10, -20 + 0.3 * k, -50 + 2 * k])
        volumes.append(read_ct(folder, gantry_tilt="correct").numpy())
    np.testing.assert_array_equal(*volumes)
    assert "144 voxels below -1024 HU are outside the field of view: read as air" in caplog.text

"""Which image is next, and whose a label is, against a datastore in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.monailabel.inference import LabelModel
from pipelines.monailabel.raters import keep_for_rater, rater_of
from pipelines.monailabel.scores import SCORES, next_image, score_images


class Datastore:
    """What the app uses of a datastore."""

    def __init__(self, folder: Path, *images: str) -> None:
        self.folder = folder
        self.info: dict[str, dict[str, Any]] = {image: {} for image in images}
        self.labels: dict[str, dict[str, dict[str, Any]]] = {image: {} for image in images}

    def list_images(self) -> list[str]:
        return list(self.info)

    def get_image_uri(self, image_id: str) -> str:
        return str(self.folder / image_id)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return dict(self.info[image_id])

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.info[image_id] |= info

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return dict.fromkeys(self.labels[image_id], image_id)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        return self.labels[label_id].get(label_tag, {})

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return str(self.folder / f"{label_id}-{label_tag}") if label_tag in self.labels[label_id] else ""

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        self.labels[image_id][label_tag] = label_info
        (self.folder / f"{image_id}-{label_tag}").write_bytes(Path(label_filename).read_bytes())
        return image_id


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    """Three images, of which two have a score."""
    store = Datastore(tmp_path, "a", "b", "c")
    store.info["a"]["lesion_entropy"], store.info["b"]["lesion_entropy"] = 0.1, 0.3
    return store


def test_the_most_uncertain_image_is_next_and_one_without_score_comes_last(store: Datastore):
    served = []
    while (image := next_image(store, "lesion_entropy", "anna")) is not None:
        served.append(image)
        store.labels[image]["anna"] = {}
    assert served == ["b", "a", "c"]


def test_every_rater_is_served_every_image(store: Datastore):
    store.labels["b"]["anna"] = {}
    store.labels["a"]["original"] = {}
    assert next_image(store, "lesion_entropy", "anna") == "a"
    assert next_image(store, "lesion_entropy", "bert") == "b"
    assert next_image(store, "lesion_entropy", None) == "a"


def test_an_image_is_inferred_once_for_all_scores(bright_checkpoint: Path, write_ct_series, chest, tmp_path: Path):
    voxels = chest[0].numpy().transpose(2, 1, 0)
    write_ct_series(tmp_path / "chest", voxels, step_mm=5.0, PixelSpacing=[4.0, 4.0])
    (tmp_path / "broken").mkdir()
    store, model = Datastore(tmp_path, "chest", "broken"), LabelModel(bright_checkpoint, device="cpu")
    counts = [score_images(model, store, score) for score in SCORES]
    assert [count["inferred"] for count in counts] == [2, 0, 0]
    assert {(count["scored"], count["failed"]) for count in counts} == {(1, 1)}
    assert set(SCORES) <= set(store.info["chest"])
    assert store.info["chest"]["lesion_entropy"] >= store.info["chest"]["between_experts"] >= 0.0
    assert next_image(store, "volume_spread", None) == "chest"


def save(store: Datastore, content: bytes, **info: str) -> str | None:
    (store.folder / "upload").write_bytes(content)
    store.save_label("a", str(store.folder / "upload"), "final", dict(info))
    return keep_for_rater(store, "a", "a")


def test_labels_of_several_raters_are_all_kept(store: Datastore, tmp_path: Path):
    assert save(store, b"1", client_id="anna") == "anna"
    assert save(store, b"2", client_id="Dr. Bert") == "Dr-Bert"
    assert [(tmp_path / f"a-{tag}").read_bytes() for tag in ("anna", "Dr-Bert", "final")] == [b"1", b"2", b"2"]


def test_a_label_of_nobody_stays_the_final_one(store: Datastore):
    assert save(store, b"1") is None
    assert set(store.labels["a"]) == {"final"}
    assert rater_of({"client_id": "final"}) is None


def test_a_rater_s_newer_label_under_the_own_tag_stays(store: Datastore, tmp_path: Path):
    save(store, b"1", client_id="anna")
    (tmp_path / "upload").write_bytes(b"newer")
    store.save_label("a", str(tmp_path / "upload"), "anna", {})
    later = (tmp_path / "a-final").stat().st_mtime + 10
    os.utime(tmp_path / "a-anna", (later, later))
    keep_for_rater(store, "a", "a")
    assert (tmp_path / "a-anna").read_bytes() == b"newer"

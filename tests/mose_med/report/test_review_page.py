from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.io.case.folder import CaseFolder, open_folder
from mose_med.report import review_page as module
from mose_med.report.lesion_volumes import LesionVolumes, read_lesion_volumes
from mose_med.report.niivue import niivue_module
from mose_med.report.review import MAX_DRAWN, drawn_lesions
from mose_med.report.review_page import review_page
from tests.fixtures.report import NASTY_NAME, ReportCase


class Page(HTMLParser):
    """Scripts by their id, policy, texts and tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: dict[str | None, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self._inside: tuple[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs).get("id"))

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is not None and self._inside[0] == "script":
            self.scripts[self._inside[1]] = data
        elif self._inside is not None and self._inside[0] == "style":
            self.style = data
        else:
            self.text += data

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for tag, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def case(report_case: ReportCase) -> CaseFolder:
    return open_folder(report_case.folder)


@pytest.fixture(scope="module")
def volumes(case: CaseFolder, report_case: ReportCase) -> dict[int, LesionVolumes]:
    read = read_lesion_volumes(case, report_case.image.numpy()[0], case.lesions)
    return {lesion.number: of_lesion for lesion, of_lesion in zip(case.lesions, read, strict=True)}


@pytest.fixture(scope="module")
def html(case: CaseFolder, volumes: dict[int, LesionVolumes]) -> str:
    return review_page(case, volumes)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_lets_the_scripts_of_the_page_run_and_nothing_be_loaded(page: Page):
    assert page.policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{sha256(page.scripts[None])}' blob:;" in page.policy
    assert f"style-src 'sha256-{sha256(page.style)}';" in page.policy
    assert not any(tag in ("link", "img", "iframe", "form") for tag, _ in page.tags)
    assert not any({"src", "style", "onclick"} & set(attributes) for _, attributes in page.tags)


def test_maps_that_the_case_does_not_have_are_left_out_and_named(report_case: ReportCase, tmp_path: Path):
    folder = Path(shutil.copytree(report_case.folder, tmp_path / "case"))
    for name in ("entropy_between_experts", "expert-1_foreground_probability", "expert-2_foreground_probability"):
        (folder / f"{name}.nii.gz").unlink()
    case = open_folder(folder)
    (read,) = read_lesion_volumes(case, report_case.image.numpy()[0], case.lesions[:1])
    page = Page(review_page(case, {1: read}))
    assert [layer["name"] for layer in json.loads(page.scripts["review"])["maps"]] == ["probability", "entropy"]
    assert "entropy_between_experts, foreground_probability (`mose-med infer --outputs all` writes them)" in page.text


def test_no_name_of_a_nodule_becomes_markup(page: Page):
    assert NASTY_NAME in page.text
    assert json.loads(page.scripts["review"])["lesions"][0]["number"] == 1


def test_the_page_carries_niivue_and_its_licence(page: Page):
    niivue = niivue_module()
    assert gzip.decompress(base64.b64decode(page.scripts["niivue"])).decode() == niivue.source
    assert niivue.licence.splitlines()[2] in page.text


def test_volumes_of_each_lesion_lie_where_the_description_says(page: Page, volumes: dict[int, LesionVolumes]):
    for lesion in json.loads(page.scripts["review"])["lesions"]:
        text = page.scripts[f"volume-{lesion['volumes']}-samples"]
        samples = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))
        assert list(samples.shape) == [*lesion["shape"], 6]
        np.testing.assert_allclose(samples.affine, lesion["affine"], atol=1e-5)
        expected = volumes[lesion["number"]].samples.reshape(*lesion["shape"], 6)
        np.testing.assert_array_equal(samples.dataobj, expected)


def test_every_layer_has_a_switch(page: Page):
    layers = {layer["key"] for layer in json.loads(page.scripts["review"])["layers"]}
    switches = {attributes["data-layer"] for tag, attributes in page.tags if "data-layer" in attributes}
    assert switches == layers
    assert len(layers) == 1 + 2 * 3


def test_numbers_of_the_lesions_are_shown(page: Page, case: CaseFolder):
    for lesion in case.lesions:
        assert f"{lesion.volume_ml.p50:.3f} ml" in page.text
        assert f"{lesion.entropy.between:.3f} between experts" in page.text
        assert f"{100 * lesion.p_empty:.1f} %" in page.text
        x, y, z = lesion.centroid_mm
        assert f"{-x:.1f}, {-y:.1f}, {z:.1f}" in page.text
        assert f"{x:.1f}, {y:.1f}, {z:.1f}" in page.text


def test_controls_have_names(page: Page):
    labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
    ranges = [attributes["id"] for tag, attributes in page.tags if attributes.get("type") == "range"]
    assert labelled >= {"slice"}
    assert set(ranges) == {"slice", "opacity"}
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_the_same_case_gives_the_same_page(case: CaseFolder, volumes: dict[int, LesionVolumes], html: str):
    assert review_page(case, volumes) == html


def test_the_page_says_that_it_is_for_research_and_names_no_path(html: str, report_case: ReportCase):
    assert "Research only." in html
    assert str(report_case.folder.parent) not in html
    assert re.search(r'(?:src|href)="(?!#)', html) is None


def test_volumes_beyond_the_budget_stay_out_and_their_numbers_stay_in(
    case: CaseFolder, volumes: dict[int, LesionVolumes], monkeypatch: pytest.MonkeyPatch
):
    first = sum(map(len, module.embedded_volumes(volumes[2]).values()))
    monkeypatch.setattr(module, "MAX_VOLUME_BYTES", first + 100)
    page = Page(review_page(case, {2: volumes[2], 1: volumes[1]}))
    assert [lesion["number"] for lesion in json.loads(page.scripts["review"])["lesions"]] == [2]
    assert "volume-1-ct" not in page.scripts
    assert "holds the volumes of 1 of 2 lesions" in page.text
    assert f"{case.lesions[0].volume_ml.mean:.3f} ml" in page.text
    assert "1 more, in numbers" in page.text


def test_a_lesion_that_is_the_same_as_another_shows_its_volumes(case: CaseFolder, volumes: dict[int, LesionVolumes]):
    first, second = case.lesions
    twin = case.__class__(**{**vars(case), "lesions": (first, second._replace(same_as=1))})
    page = Page(review_page(twin, {1: volumes[1]}))
    assert [lesion["volumes"] for lesion in json.loads(page.scripts["review"])["lesions"]] == [1, 1]
    assert "Same as lesion 1" in page.text


def test_a_case_without_lesions_has_a_page(case: CaseFolder):
    page = Page(review_page(case.__class__(**{**vars(case), "lesions": ()}), {}))
    assert "No lesion was found" in page.text


def test_the_first_lesions_of_the_list_that_have_a_place_of_their_own_are_drawn(case: CaseFolder):
    first, second = case.lesions
    many = [first._replace(number=number) for number in range(3, 40)]
    drawn = drawn_lesions([second._replace(same_as=1), *many])
    assert [lesion.number for lesion in drawn] == list(range(3, 3 + MAX_DRAWN))

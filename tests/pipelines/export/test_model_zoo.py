"""What the model zoo asks of a bundle: its own checks' calls, its template, and code for Python 3.10."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from configs.assemble import ROOT, bundles
from mose_med.checkpoint import ModelConfig
from mose_med.errors import ConfigError
from mose_med.networks import register
from mose_med.preprocessing import Preprocessing
from mose_med.weights.shipped import shipped_bundle
from pipelines.export.bundle import ExportBundleOptions, export_bundle
from pipelines.export.model_zoo import large_files, self_contained, with_pins
from pipelines.export.vendored import Vendored, named_in, vendored

SECTIONS = ("Model Description", "Data", "Performance", "Additional Usage Steps", "System Configuration")
SECTIONS += ("Limitations", "Citation Info", "References")
#: Names of the standard library that Python 3.10 lacks.
NEWER = {"Self", "StrEnum", "tomllib", "UTC", "ExceptionGroup", "LiteralString", "assert_never", "file_digest"}
NEWER |= {"Never", "reveal_type", "TaskGroup", "batched", "override", "add_note", "ReprEnum", "verify", "cbrt", "exp2"}


def in_the_zoo(checkpoint: Path, models: Path) -> Path:
    """Unpacked folder of a self-contained bundle, below a folder ``models`` as in the zoo."""
    options = ExportBundleOptions(checkpoint, models / "exported.zip", self_contained=True)
    with zipfile.ZipFile(export_bundle(options)) as archive:
        archive.extractall(models)
    return models / "exported"


@pytest.fixture(scope="module")
def zoo_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_the_zoo(tiny_checkpoint, tmp_path_factory.mktemp("zoo") / "models")


@pytest.fixture(params=["tiny", pytest.param("shipped", marks=pytest.mark.slow)])
def importable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The bundle on ``sys.path``, as the zoo's checks put it there; what is imported of it is forgotten again."""
    tiny = request.param == "tiny"
    bundle = request.getfixturevalue("zoo_bundle") if tiny else in_the_zoo(shipped_bundle(), tmp_path / "models")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(bundle)
    yield bundle
    for name in [name for name in set(sys.modules) - before if name.partition(".")[0] == "scripts"]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore:No hash value provided")
def test_the_calls_of_the_zoos_own_check_succeed(importable: Path):
    folder = str(importable)
    metadata = json.loads((importable / "configs/metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    supplied = importable / "eval" / "schema.json"  # the zoo's check downloads what is not there
    supplied.parent.mkdir(exist_ok=True)
    supplied.write_bytes((ROOT / "metadata.schema.json").read_bytes())
    files = {"meta_file": f"{folder}/configs/metadata.json", "config_file": f"{folder}/configs/inference.json"}
    verify_metadata(meta_file=files["meta_file"], filepath=str(supplied))
    verify_net_in_out(net_id="network_def", bundle_root=folder, **files)
    target, weights = f"{folder}/models/verify_model.ts", f"{folder}/models/model.pt"
    ckpt_export(net_id="network_def", filepath=target, ckpt_file=weights, bundle_root=folder, **files)
    torch.jit.load(f"{folder}/models/model.ts")


@pytest.mark.parametrize("source", ["folder", "zip"])
def test_a_bundle_can_be_exported_again(source: str, tiny_bundle: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    given = shipped_bundle() if source == "folder" else tiny_bundle
    with zipfile.ZipFile(export_bundle(ExportBundleOptions(given, tmp_path / "b.zip"))) as archive:
        name = json.loads(archive.read("b/configs/metadata.json"))["name"]
    own = json.loads((ROOT / ("lidc_small" if source == "folder" else "lidc") / "configs/metadata.json").read_text())
    assert name == own["name"]


def test_nothing_inside_imports_mose_med(zoo_bundle: Path):
    for path in (path for path in zoo_bundle.rglob("*") if path.suffix in (".py", ".yaml", ".json")):
        text = path.read_text(encoding="utf-8")
        assert not named_in([text]) or path.suffix == ".py", path
        nodes = [*ast.walk(ast.parse(text))] if path.suffix == ".py" else []
        imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not {name for name in imported if str(name).startswith("mose_med")}, path


def test_every_module_inside_runs_on_python_3_10(zoo_bundle: Path):
    paths = [*zoo_bundle.glob("scripts/**/*.py")]
    assert len(paths) > 50
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
        assert not names & NEWER, path


def test_the_pins_are_complete_and_exist_for_python_3_10(zoo_bundle: Path):
    metadata = json.loads((zoo_bundle / "configs/metadata.json").read_text())
    pins = metadata["required_packages_version"]
    assert {"pytorch-ignite", "nibabel", "fire", "pyyaml", "scipy", "pot", "jsonschema", "pydicom"} <= set(pins)
    assert "mose-med" not in pins
    assert (metadata["numpy_version"], pins["scipy"]) == ("2.2.6", "1.15.3")
    for found in distributions():
        if pins.get(str(found.metadata["Name"]).lower()) == found.version:
            assert SpecifierSet(found.metadata["Requires-Python"] or "").contains("3.10.14"), found.metadata["Name"]


def test_a_bundle_that_needs_mose_med_pins_it(tiny_bundle: Path):
    with zipfile.ZipFile(tiny_bundle) as archive:
        pins = json.loads(archive.read("tiny/configs/metadata.json"))["required_packages_version"]
    assert Requirement(f"mose-med=={pins['mose-med']}").name == "mose-med"
    assert {"pytorch-ignite", "nibabel", "scipy", "pot"} <= set(pins)
    assert not {"mlflow", "monai", "torch", "numpy"} & set(pins)


@pytest.mark.parametrize("bundle", bundles())
def test_the_pins_of_the_tree_are_those_that_the_configs_need(bundle: str):
    folder = ROOT / bundle / "configs"
    texts = {f"configs/{path.name}": path.read_text(encoding="utf-8") for path in folder.iterdir()}
    found, derived = (
        json.loads(files["configs/metadata.json"])["required_packages_version"]
        for files in (texts, with_pins(texts, ModelConfig({}, Preprocessing(), ("background", "nodule"), 1)))
    )
    assert {*found, "mose-med"} == set(derived)


def test_a_network_of_another_package_cannot_be_brought_along(tiny_checkpoint: Path):
    other = register("of_another_package")(type("Other", (), {"__module__": "elsewhere.networks"}))
    model = ModelConfig({"name": "of_another_package"}, Preprocessing(), ("background", "nodule"), 1)
    assert other.__module__ == "elsewhere.networks"
    with pytest.raises(ConfigError, match=r"network of_another_package is of elsewhere\.networks: a self-contained"):
        self_contained({"configs/metadata.json": "{}"}, model)


def test_the_readme_follows_the_zoos_template(zoo_bundle: Path):
    text = (zoo_bundle / "docs/README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## \*\*(.+)\*\*$", text, re.MULTILINE)) == (*SECTIONS, "License")
    assert "### **Authors**" in text
    assert "### **Tags**" in text
    assert "docs/data_license.txt" in text
    assert (zoo_bundle / "docs/data_license.txt").is_file()


@pytest.mark.parametrize("bundle", bundles())
def test_every_bundle_can_be_exported(tiny_checkpoint: Path, tmp_path: Path, bundle: str, monkeypatch):
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    export = ExportBundleOptions(tiny_checkpoint, tmp_path / "b.zip", bundle=bundle, self_contained=True)
    with zipfile.ZipFile(export_bundle(export)) as archive:
        assert "shipped weights" not in archive.read("b/docs/README.md").decode().partition("## **Additional")[0]


def test_files_over_25_mb_are_listed_with_address_and_hash():
    content = bytes(25_000_001)
    files = large_files({"models/model.pt": content, "LICENSE": b"short"}, "https://example.org/files/")
    (entry,) = yaml.safe_load(files["large_files.yml"])["large_files"]
    assert (entry["path"], entry["url"]) == ("models/model.pt", "https://example.org/files/model.pt")
    assert (entry["hash_val"], entry["hash_type"]) == (hashlib.sha256(content).hexdigest(), "sha256")
    assert large_files({"models/model.pt": b"small"}, "https://example.org") == {}
    with pytest.raises(ConfigError, match=r"large-files must be the address of a folder, https://\.\.\., got 'here'"):
        large_files({}, "here")


def test_a_name_that_a_package_hands_on_is_taken_from_where_it_is_defined():
    assert Vendored.config("$from mose_med.data import load_datalist") == (
        "$from scripts.data.datalist import load_datalist"
    )
    assert (
        Vendored.config("_target_: mose_med.data.learnt_from") == "_target_: scripts.data.training_record.learnt_from"
    )
    assert "scripts/data/dataset.py" not in vendored({"mose_med.data.load_datalist"}, "1.0").files
    with pytest.raises(ConfigError, match=r"mose_med has no mose_med\.data\.gone, which a config file names"):
        vendored({"mose_med.data.gone"}, "1.0")


def test_a_module_of_a_package_is_imported_itself():
    found = Vendored.config("$from mose_med.networks import registry")
    assert found == "$import scripts.networks.registry as registry"


def test_the_file_that_a_module_reads_comes_along():
    assert "scripts/data/datalist.schema.json" in vendored({"mose_med.data.load_datalist"}, "1.0").files

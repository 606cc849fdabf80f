"""Imports run one way: the layers of docs/architecture.md, read from the source itself."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOTTOM = {"errors", "files", "geometry", "options", "samples", "overlap", "preprocessing", "resampling", "ct_image"}
BOTTOM |= {f"case_contents.{name}" for name in ("dicom_kinds", "lesion_rules", "maps")}
BOTTOM |= {
    f"runtime.{name}"
    for name in ("ahead", "lazy_names", "memory_errors", "progress", "seeds", "single_threads", "tensor_files")
}
MODEL = {"model_config", "weights.model_files"}
#: The face of the library: it may import every room, and no room imports it.
FACE = "api"
#: What each part of mose_med may import from mose_med, itself aside. A part is a folder or a module; in some folders
#: every module is a part of its own.
ALLOWED = {
    "__init__": {FACE},
    "case_contents": set(),
    "case_contents.dicom_kinds": {"errors"},
    "case_contents.lesion_rules": {"errors"},
    "case_contents.maps": {"errors"},
    "case_contents.provenance": {"ct_image", "files"},
    "ct_image": set(),
    "errors": set(),
    "files": {"errors"},
    "geometry": {"errors"},
    "options": {"errors"},
    "runtime": set(),
    "runtime.ahead": set(),
    "runtime.device": {"errors"},
    "runtime.lazy_names": set(),
    "runtime.memory_errors": set(),
    "runtime.progress": set(),
    "runtime.seeds": set(),
    "runtime.single_threads": set(),
    "runtime.tensor_files": {"errors", "runtime.memory_errors"},
    "samples": {"errors", "geometry"},
    "overlap": {"errors", "geometry"},
    "preprocessing": {"errors", "geometry"},
    "resampling": {"errors", "geometry"},
    "networks": BOTTOM,
    "losses": BOTTOM,
    "metrics": BOTTOM,
    "baselines": BOTTOM | {"networks", "losses", "metrics"},
    "model_config": BOTTOM | {"networks"},
    "checkpoint": BOTTOM | MODEL | {"networks"},
    "combined_models": BOTTOM | MODEL | {"checkpoint"},
    "inferers": BOTTOM | {"networks", "metrics"},
    "io": BOTTOM | {"inferers"},
    "data": BOTTOM | {"io"},
    "report": BOTTOM | {"inferers", "metrics", "io"},
    "handlers": BOTTOM | {"losses", "metrics", "report", "data", "checkpoint"},
    "weights": BOTTOM | {"weights.model_files"},
    "weights.model_files": set(),
}
ALLOWED[FACE] = set(ALLOWED) - {"__init__"}
MODULES = sorted((ROOT / "mose_med").rglob("*.py"))
PACKAGES = ("configs", "data_prep", "mose_med", "pipelines")
INSTALLED = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: Modules that need an extra; others import them where they are used, never at their top.
OF_EXTRAS = {
    f"mose_med.io.dicom.{name}"
    for name in (
        "objects.common",
        "objects.parametric_map",
        "objects.pictures",
        "objects.rehearsal",
        "objects.rtstruct.writing",
        "objects.seg.frames",
        "objects.seg.writing",
        "objects.sr",
        "web",
    )
}
OF_EXTRAS |= {
    "pipelines.deploy.operator",
    "pipelines.listen.peer",
    "pipelines.listen.server",
    "pipelines.monailabel.app",
}


def module_of(path: Path) -> str:
    """``mose_med.networks.backbones.unet`` for its file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def part_of(module: str) -> str:
    """``networks`` for ``mose_med.networks.backbones.unet``, ``runtime.seeds`` for ``mose_med.runtime.seeds``."""
    names = module.split(".")[1:] or ["__init__"]
    pair = ".".join(names[:2])
    return pair if pair in ALLOWED else names[0]


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def in_the_library(part: str) -> bool:
    """Whether a part of mose_med is a folder or a module, and not a name that it exports."""
    return (ROOT / "mose_med" / part).exists() or (ROOT / f"mose_med/{part}.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path):
    own = part_of(module_of(path).removesuffix(".__init__"))
    parts = {part_of(name) for name in imported(path) if name.startswith("mose_med.")}
    rooms = {part for part in parts if part in ALLOWED or in_the_library(part)}
    assert rooms - {own} <= ALLOWED[own]


def test_the_package_itself_imports_the_face_when_it_is_asked_for():
    names = set(imported_at_the_top(ast.parse((ROOT / "mose_med" / "__init__.py").read_text(encoding="utf-8")).body))
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", ["data_prep", "pipelines"])
def test_the_library_never_imports_the_programs(package: str):
    users = [path for path in MODULES if any(name.split(".")[0] == package for name in imported(path))]
    assert users == []


def test_data_prep_never_imports_pipelines():
    users = [p for p in (ROOT / "data_prep").rglob("*.py") if any(n.split(".")[0] == "pipelines" for n in imported(p))]
    assert users == []


def test_geometry_needs_numpy_alone():
    roots = {name.split(".")[0] for name in imported(ROOT / "mose_med" / "geometry.py")}
    assert roots == {"__future__", "typing", "numpy", "mose_med"}


def test_pylidc_is_imported_by_one_module():
    users = [p for folder in ("mose_med", "data_prep", "pipelines") for p in (ROOT / folder).rglob("*.py")]
    users = [path for path in users if any(name.split(".")[0] == "pylidc" for name in imported(path))]
    assert len(users) <= 1
    assert all(path.parent == ROOT / "data_prep" / "lidc" for path in users)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_neither_prints_nor_reads_the_environment(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "print" not in calls
    assert not attributes & {"environ", "getenv"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_exported_names_exist_and_are_sorted(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    defined = {getattr(node, "name", None) for node in tree.body} | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    seen_by_a_type_checker = [node for node in tree.body if isinstance(node, ast.If)]
    defined |= {
        alias.name
        for block in seen_by_a_type_checker
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for names in exported:
        assert set(names) <= defined


def imported_at_the_top(body: list[ast.stmt]) -> Iterator[str]:
    """Dotted names that importing a module imports; what only a type checker sees is none of them."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imported_at_the_top(node.orelse)
        elif not isinstance(node, ast.FunctionDef):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from imported_at_the_top(getattr(node, part, []))


@functools.cache
def base_packages() -> set[str]:
    """What can be imported from the distributions that every installation has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split("[<>=]", requirement)[0].lower() for requirement in project["dependencies"]}
    owners = packages_distributions()
    return {package for package, names in owners.items() if base & {name.lower() for name in names}}


@pytest.mark.parametrize("path", INSTALLED, ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_a_module_needs_base_dependencies_alone(path: Path):
    names = set(imported_at_the_top(ast.parse(path.read_text(encoding="utf-8")).body))
    if module_of(path) in OF_EXTRAS:
        return
    roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - set(PACKAGES)
    assert roots - base_packages() == set()
    assert names & OF_EXTRAS == set()


@pytest.mark.parametrize("path", INSTALLED, ids=lambda path: str(path.relative_to(ROOT)))
def test_seeds_of_several_parts_are_made_in_one_place(path: Path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    made = [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith(("SeedSequence", "default_rng"))]
    assert path.name == "seeds.py" or not [call for call in made if "SeedSequence" in call or "[" in call]


def test_every_package_is_typed_and_ci_checks_tests_and_installs():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert (settings["strict"], sorted(settings["packages"])) == (True, sorted(PACKAGES))
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[-3:] == ["make check", "make test", ".venv/bin/python -m pytest tests/test_packaging.py"]


FOLDERS = sorted({path.parent for path in INSTALLED})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_holds_a_dozen_modules_at_most(folder: Path):
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 12, f"{len(modules)} modules in {folder.relative_to(ROOT)}: give some a folder of their own"

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.pages import RESULTS, with_tables
from benchmarks.quality.recipes import PROTOCOL_S, TABLES, Recipe
from benchmarks.quality.rows import add_row, mean_scores
from benchmarks.quality.tables import PAGE_TABLES, main, pooled, read_results
from pipelines.train.config import compose, config_files

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def scored(ged: float, std: float = 0.0, **more: float) -> dict[str, Any]:
    scores = {f"{form} 16 GED": ged for form in ("compact", "standard")} | more
    return {name: {"mean": mean, "std": std} for name, mean in scores.items()}


def row_of(table: str, number: int, ged: float, seeds: tuple[int, ...] = (0,), **more: float) -> dict[str, Any]:
    return {"row": TABLES[table][number].name, "seeds": list(seeds), **scored(ged, 0.01 * (len(seeds) > 1), **more)}


def lines_of(folder: Path, table: str) -> list[list[str]]:
    """Cells of a table, without its head."""
    lines = PAGE_TABLES[table](read_results(folder)).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_is_what_the_results_give():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, PAGE_TABLES, read_results(RESULTS)) == page


def test_every_table_has_a_place_on_the_page():
    places = re.findall(r"<!-- table ([a-z-]+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(places) == sorted(PAGE_TABLES)


def test_every_result_names_its_seeds_and_its_machine():
    for name in TABLES:
        for row in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]:
            assert row["seeds"] == sorted(set(row["seeds"]))
            assert {"cores", "processor", "date"} <= set(row["machine"])


def test_models_have_a_line_a_form_and_the_best_first(tmp_path: Path):
    add_row(tmp_path / "models.json", "models", row_of("models", 2, 0.3, parameters=1200.0))
    add_row(tmp_path / "models.json", "models", row_of("models", 8, 0.2, (0, 1)))
    better, worse = TABLES["models"][8].name, TABLES["models"][2].name
    lines = lines_of(tmp_path, "models")
    assert [line[0] for line in lines] == [
        f"{better}, quadrature codes",
        "the same, random draws",
        f"{worse}, quadrature codes",
        "the same, random draws",
    ]
    assert lines[0][1] == "0.200 ± 0.010"
    assert lines_of(tmp_path, "costs") == [[better, "2", "", ""], [worse, "1", "1,200", ""]]


def test_a_training_of_several_tables_has_its_seeds_in_all(tmp_path: Path):
    add_row(tmp_path / "levers.json", "levers", row_of("levers", 0, 0.25))
    add_row(tmp_path / "ablations.json", "ablations", row_of("ablations", 0, 0.15, (1,)))
    add_row(tmp_path / "labels.json", "labels", row_of("labels", 0, 0.25))
    spread = ".200 ± .071"
    for table in ("levers", "ablations", "labels", "sizes", "levels"):
        (line,) = lines_of(tmp_path, table)
        assert line[1:3] == ["2", f"{spread} ({spread})"]


def test_numbers_above_one_keep_their_zeros(tmp_path: Path):
    ece = {f"{form} 16 ECE": 20.19 for form in ("compact", "standard")}
    add_row(tmp_path / "levers.json", "levers", row_of("levers", 0, 0.25, **ece, effective_experts=10.5))
    assert lines_of(tmp_path, "levers")[0][5:] == ["20.19 (20.19)", "10.5"]


def test_the_compact_form_stands_at_the_most_samples_that_fit(tmp_path: Path):
    more = {"compact 4 GED": 0.3, "compact 96 GED": 0.2, "standard 100 GED": 0.4}
    add_row(tmp_path / "ablations.json", "ablations", row_of("ablations", 0, 0.25, **more))
    assert lines_of(tmp_path, "ablations")[0][2:5] == [".250 (.250)", "", ".400 (.200)"]
    more.pop("standard 100 GED")
    add_row(tmp_path / "ablations.json", "ablations", row_of("ablations", 0, 0.25, **more))
    assert lines_of(tmp_path, "ablations")[0][4] == ""


def test_the_interval_over_patients_stands_beside_the_ged_without_a_spread(tmp_path: Path):
    for seed, half in enumerate((0.012, 0.014)):
        intervals = {f"{form} 16 GED of patients": half for form in ("compact", "standard")}
        add_row(tmp_path / "levers.json", "levers", row_of("levers", 0, 0.25, (seed,), **intervals))
    assert lines_of(tmp_path, "levers")[0][3] == ".013 (.013)"


def test_results_of_a_row_are_pooled_as_its_seeds_together_would_be():
    scores = [{"GED": 0.2, "of some": 1.0}, {"GED": 0.5, "of some": 2.0}, {"GED": 0.3}]
    first = {"row": "a", "seeds": [0, 1], **mean_scores(scores[:2])}
    found = pooled([{"row": "a", "seeds": [2], **mean_scores(scores[2:])}, first])
    together = mean_scores([{"GED": score["GED"]} for score in scores])
    assert found["GED"] == pytest.approx(together["GED"])
    assert found["of some"] == pytest.approx(first["of some"])
    assert found["seeds"] == [0, 1, 2]
    with pytest.raises(ValueError, match="seed"):
        pooled([first, first])


def test_a_row_is_added_to_its_table_or_replaces_itself(tmp_path: Path):
    file = tmp_path / "levers.json"
    for row in (row_of("levers", 0, 0.3), row_of("levers", 0, 0.4, (1,)), row_of("levers", 0, 0.2)):
        add_row(file, "levers", row)
    rows = json.loads(file.read_text())["rows"]
    assert [(row["seeds"], row["compact 16 GED"]["mean"]) for row in rows] == [([1], 0.4), ([0], 0.2)]
    add_row(file, "levers", row_of("levers", 0, 0.5, (0, 1, 2)))
    assert [row["seeds"] for row in json.loads(file.read_text())["rows"]] == [[0, 1, 2]]
    with pytest.raises(SystemExit, match="must be of the table models, it is of levers: name another file"):
        add_row(file, "models", row_of("models", 0, 0.3))


def test_the_command_replaces_the_tables_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table levers -->\n<!-- end -->\nafter\n")
    monkeypatch.setattr("sys.argv", ["tables", "--write-docs", str(page)])
    main()
    assert page.read_text().startswith("before\n<!-- table levers -->\n| row | seeds |")
    assert page.read_text().endswith("|\n<!-- end -->\nafter\n")


@pytest.mark.parametrize("recipes", TABLES.values(), ids=TABLES)
def test_rows_of_a_table_are_different_trainings(recipes: tuple[Recipe, ...], tmp_path: Path):
    """Told apart by what they come to, not by what they are told: a setting may have no effect."""
    found: dict[str, str] = {}
    for recipe in recipes:
        files = []
        for name, settings in (("settings", {**PROTOCOL_S, **recipe.settings}), ("of_model", dict(recipe.of_model))):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
            files.append(str(tmp_path / f"{name}.yaml"))
        model = [recipe.model] if recipe.model else []
        overlays = (*recipe.overlays, files[0], *model, *(files[1:] if recipe.of_model else []))
        composed = compose(config_files("lidc_small", overlays, tracking=False), {})
        text = json.dumps([composed, recipe.share, recipe.labels], sort_keys=True, default=str)
        assert text not in found, f"{recipe.name} is the same training as {found.get(text)}"
        found[text] = recipe.name

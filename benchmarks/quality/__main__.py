"""Quality on real nodules: trains and scores the rows of a table, and prints it.

    python -m benchmarks.quality levers --archive NODULES.npz --work FOLDER --seeds 0 1 2 --output quality.json

Every training and evaluation resumes; a row that is done is not trained again. All rows are trained on
the training part and scored on the validation part, which also chooses the epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.quality.nodules import prepare_nodules
from benchmarks.quality.recipes import SAMPLES, TABLES
from benchmarks.quality.rows import add_row, mean_scores, require_table, scores, table


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES, help="which table")
    parser.add_argument("--archive", type=Path, required=True, help="npz file of real nodules")
    parser.add_argument("--work", type=Path, required=True, help="folder of data, trainings and evaluations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the trainings")
    parser.add_argument("--rows", nargs="+", type=int, help="which rows, counted from 1; all if left out")
    parser.add_argument("--num-samples", type=int, nargs="+", default=SAMPLES, help="of an image, in the evaluations")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    if options.output:
        require_table(options.output, options.table)
    datalist = prepare_nodules(options.archive, options.work / "data")
    recipes = TABLES[options.table]
    chosen = [recipes[row - 1] for row in options.rows] if options.rows else recipes
    rows = []
    for recipe in chosen:
        samples, threads = tuple(options.num_samples), options.threads
        scored = [scores(recipe, datalist, options.work, seed, threads, samples) for seed in options.seeds]
        rows.append({"row": recipe.name, "seeds": options.seeds, **mean_scores(scored), "machine": machine()})
        print(table(rows), flush=True)
        if options.output:
            add_row(options.output, options.table, rows[-1])


if __name__ == "__main__":
    main()

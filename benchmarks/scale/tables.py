"""The tables of ``docs/scale.md``, each from the files of measurements alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.pages import table
from benchmarks.scale.costs import READ_FORM, Hardware, gpu_bound_from_ms, rate, workloads
from benchmarks.scale.model import check, fit, simulate

STUDIES = (10**3, 10**5, 10**7)
WINDOW_MS = (0.5, 2.0, 8.0)
ACTORS = (1, 4)
GPUS = (1, 8, 64, 512)
#: Studies of a simulated run of an actor.
_SIMULATED = 1000
_TERM_NAMES = {
    "constant": "constant",
    "mvoxels": "a million voxels",
    "windows": "a window",
    "region_mvoxels": "a million voxels of the boxes looked at",
    "slab_mvoxels": "a million voxels of the slices looked at",
    "lesions": "a lesion",
}
_QUANTITIES = {"read_s": "reading, ms", "infer_s": "inference, ms", "write_s": "writing, ms", "output_mb": "output, kB"}

Measurements = Mapping[str, Any]


def number(value: float) -> str:
    """Three digits that count.

    Example:
        >>> number(0.01234), number(12.34), number(123456.7)
        ('0.0123', '12.3', '123,000')
    """
    if value == 0:
        return "0"
    digits = 2 - len(str(int(abs(value)))) + 1 if abs(value) >= 1 else 3 - int(f"{value:e}".split("e")[1]) - 1
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def sources(measured: Measurements) -> str:
    rows = []
    for name in ("cohort", "cohort_driver", "chest_stages"):
        machine = measured[name]["machine"]
        where = f"{machine['cores']} cores ({machine['processor']}), {machine['gpu'] or 'no GPU'}"
        rows.append([f"`{measured[name]['command']}`", where, machine["load"], machine["date"]])
    return table(["command", "machine", "load before", "date"], rows)


def chest(measured: Measurements) -> str:
    forms = table(
        ["512 x 512 x 300", "files", "MB", "reading, s"],
        [
            [form["form"], form["files"], number(form["mb"]), number(form["read_s"])]
            for form in _chest(measured)["forms"]
        ],
    )
    loads = workloads(_chest(measured)).values()
    rows = [
        ["windows of the network", *(f"{load.windows:,}" for load in loads)],
        [f"reading ({READ_FORM}), s", *(number(load.read_s) for load in loads)],
        ["inference beside the network, s", *(number(load.beside_s) for load in loads)],
        ["network on the CPU, s", *(number(load.network_s) for load in loads)],
        ["writing, s", *(number(load.write_s) for load in loads)],
        ["written, MB", *(number(load.output_mb) for load in loads)],
        ["files", *(load.files for load in loads)],
    ]
    return f"{forms}\n\n{table(['one core', *(load.name for load in loads)], rows)}"


def formulas(measured: Measurements) -> str:
    model = fit(_cohorts(measured)["fit"])
    names = list(_TERM_NAMES)
    rows = []
    for quantity, title in _QUANTITIES.items():
        formula = model.formulas[quantity]
        cells = [number(1000 * formula.terms[name]) if name in formula.terms else "" for name in names]
        rows.append([title, *cells, number(formula.condition)])
    fitted = table(["", *_TERM_NAMES.values(), "condition"], rows)
    return (
        f"{fitted}\n\nBeside these: {number(1000 * model.overhead_s)} ms a case, "
        f"{number(1000 * model.first_case_s)} ms for the first case of a worker, and a factor of "
        f"{model.contention:.3f} while two workers share the machine."
    )


def checked(measured: Measurements) -> str:
    cohorts = _cohorts(measured)
    model = fit(cohorts["fit"])
    rows = []
    for name, text in (("fit", "fitted (one worker)"), ("check", "held out")):
        for workers in (1, 2):
            row = check(model, cohorts[name], workers)
            error = f"{row['error_percent']:+.1f} %"
            rows.append([text, workers, number(row["simulated_s"]), number(row["measured_s"]), error])
    return table(["cohort", "workers", "simulated, s", "measured, s", "error"], rows)


def targets(measured: Measurements) -> str:
    cohorts, found = _cohorts(measured), measured["cohort"]["discovery"]
    rows: list[Sequence[object]] = []
    for name, cohort in cohorts.items():
        for in_flight in sorted({run["in_flight"] for run in cohort["runs"]}):
            one, two = (run["spans_s"] for run in cohort["runs"] if run["in_flight"] == in_flight)
            ratios = [a / b for a, b in zip(one, two, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append([f"two workers over one, cohort '{name}', `--in-flight {in_flight}`", spread, "1.8"])
    overhead = [f"{1000 * fit(cohort).overhead_s:.1f} ms" for cohort in cohorts.values()]
    rows.append(["a case beside its stages", " and ".join(overhead), "50 ms"])
    rows.append([f"finding {found['studies']:,} folders", f"{found['seconds']} s", "20 s"])
    rows.append(["memory of that", f"{found['largest_mb']:.0f} MB", "500 MB"])
    return table(["", "measured", "target"], rows)


def driver(measured: Measurements) -> str:
    runs = measured["cohort_driver"]["runs"]
    small, large = runs[0], runs[-1]
    factor = STUDIES[-1] / large["studies"]
    rows = []
    for few, many in zip(small["steps"], large["steps"], strict=True):
        rows.append(
            [
                few["step"],
                number(1000 * few["seconds"] / small["studies"]),
                number(1000 * many["seconds"] / large["studies"]),
                number(many["seconds"] * factor / 3600),
                number(many["added_mb"]),
                number(many["added_mb"] * factor / 1000),
            ]
        )
    titles = [
        "step",
        f"ms a study, of {small['studies']:,}",
        f"of {large['studies']:,}",
        f"{STUDIES[-1]:,}: hours",
        f"memory by then, MB, {large['studies']:,}",
        f"{STUDIES[-1]:,}: GB",
    ]
    sizes = (
        f"The journal takes {number(1000 * large['journal_mb'] / large['studies'])} kB a study and summary.csv "
        f"{number(1000 * large['summary_mb'] / large['studies'])} kB (three lesions): "
        f"{number(large['journal_mb'] * factor / 1000)} GB and {number(large['summary_mb'] * factor / 1000)} GB of "
        f"{STUDIES[-1]:,}."
    )
    return f"{table(titles, rows)}\n\n{sizes}"


def in_hand(measured: Measurements) -> str:
    rows = []
    for load in workloads(_chest(measured)).values():
        stages = load.stages(Hardware().window_ms)
        spans = [simulate([stages] * _SIMULATED, workers=1, in_flight=n) / _SIMULATED for n in (1, 2, 3)]
        rows.append([load.name, *map(number, spans), number(max(stages))])
    titles = ["seconds a study", "1 in hand", "2", "3", "slowest stage"]
    return table(titles, rows)


def gpu_hours(measured: Measurements) -> str:
    rows = []
    for load in workloads(_chest(measured)).values():
        for actors in ACTORS:
            for window_ms in WINDOW_MS:
                done = rate(load, Hardware(window_ms, actors))
                busy = load.gpu_s(window_ms) * done.per_s
                hours = [number(count / done.per_s / 3600) for count in STUDIES]
                rows.append([load.name, actors, window_ms, done.bottleneck, f"{100 * busy:.0f} %", *hours])
    titles = ["", "actors", "ms a window", "held up by", "GPU busy", *(f"GPU-hours, {count:,}" for count in STUDIES)]
    return table(titles, rows)


def break_even(measured: Measurements) -> str:
    loads = workloads(_chest(measured)).values()
    rows = []
    for actors in (1, 2, 4, 8):
        limits = (gpu_bound_from_ms(load, actors, Hardware().cores) for load in loads)
        rows.append([actors, *("never" if limit == float("inf") else f"{number(limit)} ms" for limit in limits)])
    return table(["actors", *(load.name for load in loads)], rows)


def cpu_hours(measured: Measurements) -> str:
    contention = fit(_cohorts(measured)["fit"]).contention
    rows = []
    for load in workloads(_chest(measured)).values():
        core_s = load.core_s * contention
        rows.append([load.name, number(core_s), *(number(count * core_s / 3600) for count in STUDIES)])
    titles = ["", "core-seconds a study", *(f"core-hours, {count:,}" for count in STUDIES)]
    return table(titles, rows)


def data(measured: Measurements) -> str:
    rows = []
    for load in workloads(_chest(measured)).values():
        for count in STUDIES:
            read, written = (number(count * megabytes / 1e6) for megabytes in (load.input_mb, load.output_mb))
            rows.append([load.name, f"{count:,}", read, written, f"{count * load.files:,}"])
    return table(["", "studies", "read, TB", "written, TB", "files"], rows)


def fleet(measured: Measurements) -> str:
    hardware = Hardware(actors=ACTORS[-1])
    rows = []
    for load in workloads(_chest(measured)).values():
        for gpus in GPUS:
            done = rate(load, hardware, gpus)
            traffic = done.per_s * (load.input_mb + load.output_mb) * 8 / 1000
            days = STUDIES[-1] / done.per_s / 86400
            rows.append([load.name, gpus, done.bottleneck, number(3600 * done.per_s), number(traffic), number(days)])
    titles = ["", "GPUs", "held up by", "studies an hour", "network, Gbit/s", f"days for {STUDIES[-1]:,}"]
    return table(titles, rows)


def shards(measured: Measurements) -> str:
    """What shards cost together: each searches all of one input, and writes the tables of all that is in one output.

    Shards that run at the same time write them once; of those that run one after another, the n-th finds n parts there.
    """
    run = measured["cohort_driver"]["runs"][-1]
    each_s = {step["step"]: step["seconds"] / run["studies"] for step in run["steps"]}
    table_s, find_s = each_s["list the output"] + each_s["write the tables"], each_s["find studies"]
    rows = []
    for count in (1, 10, 100, 1000):
        hours = (count * find_s, table_s, table_s * (count + 1) / 2, find_s + table_s)
        rows.append([count, *(number(seconds * STUDIES[-1] / 3600) for seconds in hours)])
    titles = [
        "shards",
        "finding in one folder, h",
        "tables in one folder, at the same time, h",
        "one after another, h",
        "own folders: all of it, h",
    ]
    return table(titles, rows)


def _chest(measured: Measurements) -> Mapping[str, Any]:
    chest_stages: Mapping[str, Any] = measured["chest_stages"]
    return chest_stages


def _cohorts(measured: Measurements) -> Mapping[str, Any]:
    cohorts: Mapping[str, Any] = measured["cohort"]["cohorts"]
    return cohorts


#: By the name that the page marks their place with.
TABLES: dict[str, Callable[[Measurements], str]] = {
    "sources": sources,
    "targets": targets,
    "chest": chest,
    "formulas": formulas,
    "checked": checked,
    "in-hand": in_hand,
    "gpu-hours": gpu_hours,
    "break-even": break_even,
    "cpu-hours": cpu_hours,
    "data": data,
    "fleet": fleet,
    "driver": driver,
    "shards": shards,
}

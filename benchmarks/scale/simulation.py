"""What 10^3 to 10^7 studies cost: every figure of ``docs/scale.md``, from files of measurements.

    python -m benchmarks.scale.simulation                              # print the tables
    python -m benchmarks.scale.simulation --write-docs docs/scale.md   # put them into the page

The measurements are those of ``cohort.py``, ``cohort_driver.py`` and ``chest_stages.py``, in ``benchmarks/results``.
No GPU was measured: the time of a window on a GPU is assumed (``Hardware`` in ``costs.py``), and told with every figure
that depends on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.pages import print_or_write
from benchmarks.scale.tables import TABLES

_MEASUREMENTS = ("cohort", "cohort_driver", "chest_stages")


def main() -> None:
    """Print the tables, or put them into a page."""
    print_or_write(__doc__.splitlines()[0], TABLES, read_measurements)


def read_measurements(folder: Path) -> dict[str, Any]:
    """The files of measurements, by name."""
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in _MEASUREMENTS}


if __name__ == "__main__":
    main()

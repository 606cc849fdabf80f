from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort
from pipelines.infer.store import open_store


@pytest.mark.slow
def test_results_in_a_bucket_are_those_in_a_folder(cohort: CohortOptions, contents, bucket: str, tmp_path: Path):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    infer_cohort(few)
    remote = dataclasses.replace(few, output_dir=f"{bucket}/run", private_dir=tmp_path / "secret")
    assert infer_cohort(remote) == (3, 0, 0, 0)
    store = open_store(remote.output_dir)
    with (tmp_path / "secret" / "private" / "case_map.csv").open(newline="") as stream:
        sources = {row["source"]: row["case"] for row in csv.DictReader(stream)}
    for source, files in contents(Path(few.output_dir)).items():
        assert {name: store.read(f"{sources[source]}/{name}") for name in files} == files
    assert store.read("private/case_map.csv") is None
    assert infer_cohort(remote) == (0, 3, 0, 0)


def test_a_bucket_is_not_given_what_is_private(cohort: CohortOptions):
    with pytest.raises(ConfigError, match="private_dir must be given with the output s3://cohort/run"):
        infer_cohort(dataclasses.replace(cohort, output_dir="s3://cohort/run"))

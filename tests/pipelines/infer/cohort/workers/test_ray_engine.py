"""A cohort on a Ray cluster of two nodes that is made here."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]
pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The first node of a cluster, with one CPU."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def actors() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith("ray::_Actor"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 600  # a loaded machine starts actors in minutes
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)


def actor_of(node: object) -> psutil.Process:
    """The actor on a node, as soon as there is one."""
    (raylet,) = node.all_processes["raylet"]
    found: list[psutil.Process] = []
    wait_until(lambda: found.extend(actor for actor in actors() if actor.ppid() == raylet.process.pid) or found)
    return found[0]


def test_a_worker_and_a_node_are_lost_and_every_case_is_written_once(
    cohort: CohortOptions, cluster, contents, leftovers, failed_rows, caplog, tmp_path: Path
):
    """The actor on each node is stopped for as long as the other one could end the run before it is struck."""
    cohort = dataclasses.replace(cohort, samples=64)
    infer_cohort(cohort)
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    output = tmp_path / "by ray"
    on_ray = dataclasses.replace(
        cohort, output_dir=str(output), engine="ray", ray_address=cluster.address, workers=2, in_flight=2
    )
    caplog.set_level(logging.DEBUG, logger="pipelines.infer.cohort.workers.scheduler")

    def ready(count: int) -> bool:
        return caplog.text.count("a worker is ready") >= count

    def strike() -> None:
        on_head, on_second = actor_of(cluster.head_node), actor_of(second)
        on_head.suspend()
        wait_until(lambda: ready(1))
        on_second.suspend()
        on_head.resume()
        wait_until(lambda: ready(2))
        on_head.kill()
        done = len(list(output.glob("case-*")))
        wait_until(lambda: len(list(output.glob("case-*"))) > done)
        cluster.remove_node(second, allow_graceful=False)
        on_second.kill()

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    result = infer_cohort(on_ray)
    thread.join(60)
    assert not thread.is_alive()
    assert failed_rows(output) == []
    assert caplog.text.count("a worker ended") == 2
    assert result == (6, 0, 0, 0)
    assert contents(output) == contents(Path(cohort.output_dir))
    assert leftovers(output) == []
    assert len((output / "private" / "journal" / "all.jsonl").read_text().splitlines()) == 6

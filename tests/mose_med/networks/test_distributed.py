"""A process that trained with others ends without threads of its group, of which one could abort it at its exit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_ALONE = """
import glob, json, torch
import torch.distributed as dist
from torch import nn
from mose_med.networks.distributed import distributed_network, leave_group


def threads():
    return sorted(open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm"))


dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
network = distributed_network(nn.Linear(2, 2), torch.device("cpu"))
network(torch.zeros(3, 2)).sum().backward()
dist.broadcast_object_list(["outcome"], src=0)
before = threads()
leave_group(network)
print(json.dumps([before, threads(), dist.is_initialized(), network.module.weight.shape[0]]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_no_thread_of_the_group_is_left():
    done = subprocess.run([sys.executable, "-c", _ALONE], capture_output=True, text=True, check=True, timeout=120)
    before, after, still_one_of_several, outputs = json.loads(done.stdout)
    assert any("gloo" in name for name in before)
    assert not any("gloo" in name for name in after)
    assert (still_one_of_several, outputs) == (False, 2)

"""M1: ``Client()`` sets up a local cluster in one line, and is what Dask's collections compute on."""

from __future__ import annotations

import os

import dask
from mission_help import run_program

from windrow import Client, system

ONE_LINE = """
from windrow import Client; client = Client()
import os
print(client.submit(sum, client.map(lambda x: x ** 2, range(100))).result())
print(*sorted(client.nthreads().values()))
print(os.getpid() not in client.run(os.getpid).values(), client.cluster.processes)
"""


def test_one_line_sets_up_workers_to_match_the_cores() -> None:
    workers, threads = system.nprocesses_nthreads(system.cpu_count())
    out, err = run_program(ONE_LINE)
    assert out.splitlines() == ["328350", " ".join([str(threads)] * workers), "True True"]
    assert err == ""


def test_it_becomes_the_default_for_collections_over_whatever_was_set_before() -> None:
    with dask.config.set(scheduler="synchronous"):
        where = dask.delayed(os.getpid, pure=False)
        assert where().compute() == os.getpid()
        with Client(n_workers=1, threads_per_worker=1) as client:
            assert [where().compute()] == list(client.run(os.getpid).values())
        assert where().compute() == os.getpid()

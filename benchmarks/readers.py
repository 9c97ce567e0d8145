"""One large value, used by many processes of one host: ``python -m benchmarks.readers [--gib 1] [--workers 8]``.

What lives here: how long it takes until all have used it, and what memory it takes, with all that belongs to it. What
this module must never know: other systems.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from pathlib import Path

import numpy as np

from benchmarks import work
from windrow import Client, LocalCluster

GIB = 1 << 30


def memory_bytes(pids: list[int]) -> int:
    """What these processes take: what is their own, and each segment of shared memory that one of them has, once."""
    own, segments = 0, dict[int, int]()
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        own += sum([int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:")])
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "memfd:windrow" in os.readlink(entry):
                    found = os.stat(entry)
                    segments[found.st_ino] = found.st_blocks * 512
            except FileNotFoundError:  # the descriptor of the listing itself
                continue
    return own + sum(segments.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="values, one after another: the first into fresh pages")
    options = parser.parse_args()
    nbytes = int(options.gib * GIB)
    with (
        LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        pids = [os.getpid(), *client.run(os.getpid).values()]
        workers = list(client.scheduler_info()["workers"])
        array = work.make_array(nbytes, 1)
        client.run(work.touch, np.ones(1000))  # all have imported what they need
        before = memory_bytes(pids)
        for number in range(options.rounds):
            array[:1] = number
            expected = work.touch(array)
            start = time.perf_counter()
            future = client.scatter(array)
            placed_s = time.perf_counter() - start
            uses = [client.submit(work.touch, future, workers=[worker], pure=False) for worker in workers]
            found = client.gather(uses)
            used_s = time.perf_counter() - start - placed_s
            assert found == [expected] * len(workers)
            held = memory_bytes(pids) - before
            keeping = [client.submit(work.keep, future, workers=[worker], pure=False) for worker in workers]
            start = time.perf_counter()
            client.gather(keeping)
            again_s = time.perf_counter() - start
            kept = memory_bytes(pids) - before
            client.run(work.let_go)
            print(
                f"{nbytes / 1e9:.2f} GB, {len(workers)} workers: placed in {placed_s * 1e3:,.0f} ms, used by all "
                f"{used_s * 1e3:,.0f} ms later, again in {again_s * 1e3:,.0f} ms; memory of all processes grew by "
                f"{held / nbytes:.3f} times the value, while all keep it {kept / nbytes:.3f}",
                flush=True,
            )
            del future, uses, keeping
            gc.collect()


if __name__ == "__main__":
    main()

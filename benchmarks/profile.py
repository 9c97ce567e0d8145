"""Where the time of a case goes: ``python -m benchmarks.profile map_10k [--workers]``.

What lives here: running a case for a while under `benchmarks.sampler`, in this process (client and scheduler) or in
the workers. The sampler looks at each thread's stack every two milliseconds and so slows the work by a few percent
only; it sees a thread that waits for the GIL or for the network, too: look at the leaves.
"""

from __future__ import annotations

import argparse
import os
import time

from benchmarks.cases import CASES
from benchmarks.child import warm_up
from benchmarks.sampler import Sampler, start_in_worker, stop_in_worker
from benchmarks.systems import ROOT, SYSTEMS, Futures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("case", choices=[name for name, case in CASES.items() if case.run is not None])
    parser.add_argument("--system", choices=["windrow", "distributed"], default="windrow")
    parser.add_argument("--workers", action="store_true", help="look at the workers instead of at client and scheduler")
    parser.add_argument("--seconds", type=float, default=5.0, help="repeat the case for so long")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    case = CASES[options.case]
    system = SYSTEMS[options.system](case.over)
    assert case.run is not None
    assert isinstance(system, Futures)
    warm_up(system)
    sampler = Sampler()
    if options.workers:
        system.run_everywhere(start_in_worker)
    else:
        sampler.start()
    until, values = time.monotonic() + options.seconds, []
    while time.monotonic() < until:
        values.append(case.run(system, case.size))
    if options.workers:
        for worker, text in system.run_everywhere(stop_in_worker).items():
            print(f"\n==== worker {worker}{text}")
    else:
        sampler.stop()
        print(sampler.text())
    print(f"\n{case.title}: {len(values)} times, {min(values):.1f} to {max(values):.1f} {case.unit}")
    system.close()


if __name__ == "__main__":
    main()

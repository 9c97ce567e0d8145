"""``python -m windrow.testing``: run more seeds of the virtual cluster, or replay one with its trace."""

from __future__ import annotations

import argparse
import sys
import time

from windrow.testing.simulation import Simulation, SimulationFailed


def main() -> int:
    """Run seeds; the exit code says whether all held."""
    parser = argparse.ArgumentParser(prog="python -m windrow.testing", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="run this one seed alone")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of each seed")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    started, failed, steps = time.perf_counter(), 0, 0
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run()
        except SimulationFailed as error:
            failed += 1
            print(error, file=sys.stderr)
        steps += simulation.cluster.clock.steps
        if options.trace:
            print("\n".join(simulation.cluster.trace))
    seconds = time.perf_counter() - started
    print(f"{len(seeds)} seeds, {failed} failed, {steps} steps in {seconds:.1f} s ({steps / seconds:.0f} steps/s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

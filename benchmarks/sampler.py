"""A sampling profiler of all threads of a process.

What lives here: the sampler, and the two functions that run it inside a worker (which is why this is a module of its
own: workers import it). What this module must never import: any of the systems.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.002


class Sampler:
    """Counts, for each thread, the functions that stand on its stack and the line at its end."""

    def __init__(self) -> None:
        self.samples = 0
        self.leaves: dict[str, Counter[str]] = {}
        self.holders: dict[str, Counter[str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = threading.get_ident()
        while not self._stop.wait(INTERVAL_S):
            self.samples += 1
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident == me:
                    continue
                name = names.get(ident, "?")
                code = frame.f_code
                file = Path(code.co_filename)
                self.leaves.setdefault(name, Counter())[
                    f"{file.parent.name}/{file.name}:{frame.f_lineno} {code.co_name}"
                ] += 1
                seen = set()
                walker: FrameType | None = frame
                while walker is not None:
                    seen.add(f"{Path(walker.f_code.co_filename).stem}.{walker.f_code.co_name}")
                    walker = walker.f_back
                self.holders.setdefault(name, Counter()).update(seen)

    def text(self, rows: int = 12) -> str:
        """For each thread: the lines that it was at, and the functions that it was in, in percent of the samples."""
        lines = []
        for name, leaves in self.leaves.items():
            lines.append(f"\n{name}: at this line")
            lines += [f"  {count / self.samples:6.1%}  {where}" for where, count in leaves.most_common(rows)]
            lines.append(f"{name}: in this function or what it calls")
            lines += [
                f"  {count / self.samples:6.1%}  {where}" for where, count in self.holders[name].most_common(rows)
            ]
        return "\n".join(lines)


_in_worker: list[Sampler] = []


def start_in_worker() -> None:
    """Begin to sample in this process."""
    _in_worker.append(Sampler())
    _in_worker[-1].start()


def stop_in_worker() -> str:
    """End it, and say what was seen."""
    sampler = _in_worker.pop()
    sampler.stop()
    return sampler.text()

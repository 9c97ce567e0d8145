"""A process that owns segments and reads those of others, as a test tells it: a line in, a line out.

What is in a segment is its value's number, over and over, so that anything else in it shows.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from windrow import memfd
from windrow.memfd import SegmentError, View, attach
from windrow.segments import Owned, Pool


class Actor:
    """What one such process has."""

    def __init__(self) -> None:
        self.pool = Pool(idle_bytes_max=2**22, idle_s=0.01)
        self.owned: list[Owned] = []
        self.read: list[tuple[int, memoryview]] = []

    def put(self, number: int, words: int) -> str:
        data = memoryview(number.to_bytes(4, "little") * words)
        owned = self.pool.put([data])
        assert owned is not None
        self.owned.append(owned)
        segment = owned.segment
        return f"{number} {words} {segment.pid} {segment.fd} {segment.inode} {owned.generation}"

    def drop(self, index: int) -> str:
        if self.owned:
            del self.owned[index % len(self.owned)]
        return "dropped"

    def churn(self, first: int, words: int) -> str:
        """Fill what is free again and again, while others try to read it."""
        for number in range(first, first + 8):
            self.put(number, words)
            del self.owned[-1]
        return "churned"

    def attach(self, number: int, words: int, pid: int, fd: int, inode: int, generation: int) -> str:
        _, size = memfd.offsets([4 * words])
        try:
            view: View = attach(pid, fd, inode, generation, size).view()
        except SegmentError:
            return "late"
        [data] = view.parts([4 * words])
        self.read = [*self.read[-7:], (number, data)]
        return self.check()

    def edit(self, index: int) -> str:
        """Write to what was read: it is the value of another number from here on, for this reader."""
        if self.read:
            index %= len(self.read)
            number, data = self.read[index]
            data[:] = (number + 1).to_bytes(4, "little") * (len(data) // 4)
            self.read[index] = number + 1, data
        return self.check()

    def forget(self, index: int) -> str:
        if self.read:
            del self.read[index % len(self.read)]
        return "forgotten"

    def check(self) -> str:
        for number, data in self.read:
            if data != number.to_bytes(4, "little") * (len(data) // 4):
                return f"torn: {number}"
        return "right"

    def end(self) -> str:
        """Let go of everything, and say what is left: bytes of segments, bytes of views, descriptors of segments."""
        self.owned.clear()
        self.read.clear()
        self.pool.give_back()
        open_ones = 0
        for fd in os.listdir("/proc/self/fd"):
            try:
                open_ones += "memfd:windrow" in os.readlink(f"/proc/self/fd/{fd}")
            except FileNotFoundError:  # that of the listing itself
                continue
        return f"left {memfd.held.total()} {memfd.viewed.total()} {open_ones}"


def main() -> None:
    actor: Any = Actor()
    for line in sys.stdin:
        verb, *numbers = line.split()
        print(getattr(actor, verb)(*map(int, numbers)), flush=True)


if __name__ == "__main__":
    main()

"""What the tests of memory run on workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from windrow.worker.monitor import resident_bytes

MB = 2**20

BALLAST: list[bytearray] = []


def make(number: int, nbytes: int = 4 * MB) -> np.ndarray[Any, Any]:
    return np.full(nbytes // 8, number, dtype="i8")


def total(*arrays: np.ndarray[Any, Any]) -> int:
    return int(sum(array.sum() for array in arrays))


def take_on(nbytes: int) -> None:
    """Have the process take so much, in all."""
    BALLAST.append(bytearray(b"x") * (nbytes - resident_bytes()))


def throw_off() -> None:
    BALLAST.clear()


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # removed since one looked
        return 0


def facts(dask_worker: Any) -> dict[str, Any]:
    """What a worker's memory looks like from inside."""
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    spilled = Path(dask_worker.scratch.planned, "spilled")
    return {
        "peak": peak,
        "used": dask_worker.memory_manager.disk.used,
        "files": sum(size_of(path) for path in spilled.iterdir()) if spilled.is_dir() else 0,
        "on disk": len(dask_worker.data.disk),
        "in memory": len(dask_worker.data.memory),
        "directory": dask_worker.scratch.planned,
        "status": str(dask_worker.status),
    }


def lose_files(dask_worker: Any) -> int:
    """Somebody cleans up where he should not."""
    directory = os.path.join(dask_worker.local_directory, "spilled")
    names = os.listdir(directory)
    for name in names:
        os.unlink(os.path.join(directory, name))
    return len(names)

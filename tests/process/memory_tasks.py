"""What the tests of memory run on workers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

MB = 2**20

BALLAST: list[bytearray] = []


def make(number: int, nbytes: int = 4 * MB) -> np.ndarray[Any, Any]:
    return np.full(nbytes // 8, number, dtype="i8")


def total(*arrays: np.ndarray[Any, Any]) -> int:
    return int(sum(array.sum() for array in arrays))


def take_on(nbytes: int) -> None:
    BALLAST.append(bytearray(b"x") * nbytes)


def throw_off() -> None:
    BALLAST.clear()


def facts(dask_worker: Any) -> dict[str, Any]:
    """What a worker's memory looks like from inside."""
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    directory = os.path.join(dask_worker.scratch.planned, "spilled")
    return {
        "peak": peak,
        "used": dask_worker.memory_manager.disk.used,
        "files": sum(os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory))
        if os.path.isdir(directory)
        else 0,
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

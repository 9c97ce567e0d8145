"""M3: ``Client(processes=False)`` keeps scheduler and workers in this process, on threads."""

from __future__ import annotations

import os
import threading

import psutil
from mission_help import family

from windrow import Client

HELD = threading.Lock()  # which no pickle could carry


def get_held() -> object:
    return HELD


def is_held(value: object) -> bool:
    return value is HELD


def test_scheduler_and_workers_are_in_this_process() -> None:
    before, sockets = family(), len(psutil.Process().net_connections("inet"))
    with Client(processes=False, dashboard_address=None) as client:
        assert client.cluster.scheduler_address.startswith("inproc://")
        assert client.submit(os.getpid).result() == os.getpid()
        assert client.submit(threading.get_ident).result() != threading.get_ident()
        assert client.run_on_scheduler(os.getpid) == os.getpid()
        assert family() == before
        assert len(psutil.Process().net_connections("inet")) == sockets


def test_tasks_hand_each_other_the_objects_themselves() -> None:
    with Client(processes=False) as client:
        assert client.submit(is_held, client.submit(get_held)).result()

"""Processes that are stopped, and do not read what they are sent: nobody's memory grows beyond a bound for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import process_tasks as tasks
import psutil
from process_help import environment, until

from windrow import Client, LocalCluster, transport, wait
from windrow.runtime import LoopThread
from windrow.wire.messages import Call, Message, Reply, TaskId
from windrow.wire.requests import GetData

MB = 1_000_000


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def resident_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def test_a_client_that_does_not_read_its_results(own_cluster: LocalCluster, own_client: Client, tmp_path: Path) -> None:
    """20,000 results of 8 kB: the scheduler holds them, and does not hold them a second time on their way."""
    source = (
        "import process_tasks as tasks, sys\nfrom windrow import Client\n"
        f"client = Client({own_cluster.scheduler_address!r})\n"
        f"gate = client.submit(tasks.wait_for_file, {os.fspath(tmp_path / 'go')!r})\n"
        "futures = client.map(tasks.some_bytes, range(20_000), [gate] * 20_000)\n"
        "client.submit(tasks.inc, 1, priority=9).result()\n"  # all that was said before has arrived
        "print('there', flush=True)\n"
        "print(sum(map(len, client.gather(futures))), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], env=environment(), stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "there\n"
            with stopped(program.pid):
                before = resident_bytes(os.getpid())
                (tmp_path / "go").touch()
                done = own_client.submit(tasks.inc, 5, priority=-9)  # after all of them
                assert done.result(timeout=tasks.LIMIT_S * 2) == 6
                grown = resident_bytes(os.getpid()) - before
            assert grown < 1.6 * 20_000 * 8_000
            assert program.stdout.readline() == f"{20_000 * 8_000}\n"
        finally:
            program.kill()


def test_a_worker_that_is_stopped_while_all_send_to_it() -> None:
    with LocalCluster(n_workers=3, threads_per_worker=1) as cluster, Client(cluster) as client:
        workers = client.scheduler_info()["workers"]
        addresses = sorted(workers)
        first, *others = [workers[address]["pid"] for address in addresses]
        values = [client.submit(tasks.blob_list, 20, n, workers=[addresses[1 + n % 2]], pure=False) for n in range(10)]
        client.submit(tasks.inc, 0, workers=[addresses[0]]).result()
        assert len(client.gather([client.submit(len, value, workers=[addresses[1]]) for value in values[1::2]])) == 5
        others_before = {pid: resident_bytes(pid) for pid in others}
        before = resident_bytes(os.getpid())
        with stopped(first):
            sums = [client.submit(len, value, workers=[addresses[0]]) for value in values]
            sent = [client.submit(len, bytes(100_000), workers=[addresses[0]], pure=False) for _ in range(200)]
            free = [client.submit(tasks.inc, n, workers=addresses[1:]) for n in range(200)]
            assert client.gather(free) == list(range(1, 201))  # nobody waits for the one that is stopped
            assert resident_bytes(os.getpid()) - before < 200 * 100_000 + 40 * MB
            for pid, resident in others_before.items():
                assert resident_bytes(pid) - resident < 5 * 20 * MB
        assert client.gather(sums) == [20] * 10
        assert client.gather(sent) == [100_000] * 200


def test_a_peer_that_asks_for_large_values_and_does_not_read(own_cluster: LocalCluster, own_client: Client) -> None:
    value = own_client.submit(tasks.blob_list, 20, 0)
    wait(value)
    [address] = own_client.who_has(value)[value.key]
    pid = own_client.scheduler_info()["workers"][address]["pid"]
    id = TaskId(own_client.run_on_scheduler(_id_of, value.key))
    asker = LoopThread("asker")
    replies: list[Message] = []

    async def ask() -> transport.Link:
        link = await transport.connect(address, secret=own_cluster.secret)
        link.send([Call(number, GetData([id])) for number in range(30)])
        return link  # which does not read before it has an owner

    def own() -> None:
        link.on_batch = replies.extend

    before = resident_bytes(pid)
    link = asker.run(ask(), tasks.LIMIT_S)
    peak = 0
    for _ in range(200):  # as long as thirty copies take, several times over
        assert own_client.submit(tasks.inc, 1, workers=[address], pure=False).result(timeout=tasks.LIMIT_S) == 2
        peak = max(peak, resident_bytes(pid) - before)
    assert 20 * MB < peak < 8 * 20 * MB  # of 600
    asker.loop.call_soon_threadsafe(own)
    until(lambda: len(replies) == 30, "all questions are answered")
    assert all(isinstance(reply, Reply) and reply.blobs[0] is not None for reply in replies)
    asker.loop.call_soon_threadsafe(link.close)
    asker.stop()


def _id_of(key: str, dask_scheduler: object = None) -> int:
    found: int = dask_scheduler.core.state.tasks[key].id  # type: ignore[attr-defined]
    return found

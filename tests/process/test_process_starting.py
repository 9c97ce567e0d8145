"""Every way to a running cluster, and out of it again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from process_help import family, run_python, until, until_file, until_gone

from windrow import Client, LocalCluster, default_client, wait
from windrow.errors import (
    ClosedClientError,
    FutureCancelledError,
    WindrowError,
    WorkerStartError,
    WorkerStartTimeoutError,
    WrongSecret,
)

OTHER = """
from windrow import Client
with Client({address!r}) as client:
    print(client.submit(lambda x: x + 1, 41).result())
"""


# ---------------------------------------------------------------- in one line


def test_a_client_makes_its_cluster() -> None:
    with Client(n_workers=4, threads_per_worker=1) as client:
        assert sorted(client.nthreads().values()) == [1, 1, 1, 1]
        assert client.ncores() == client.nthreads()
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 4
        assert os.getpid() not in pids
        assert default_client() is client
    assert client.status == client.cluster.status == "closed"
    until_gone(pids)


def test_threads_of_this_process_as_workers() -> None:
    before = family()
    with Client(processes=False) as client:
        assert client.submit(os.getpid).result() == os.getpid()
        assert client.gather(client.map(tasks.inc, range(100))) == list(range(1, 101))
        assert family() == before


def test_two_clients_of_one_cluster(cluster: LocalCluster) -> None:
    with Client(cluster) as one, Client(cluster) as two:
        assert one.submit(tasks.inc, 1).result() == two.submit(tasks.inc, 1).result() == 2
    assert cluster.status == "running"


def test_what_a_cluster_says_of_itself(cluster: LocalCluster, client: Client) -> None:
    info = client.scheduler_info()
    assert info["address"] == cluster.scheduler_address
    assert info["workers"].keys() == client.nthreads().keys()
    assert {worker["nthreads"] for worker in info["workers"].values()} == {1}
    assert {worker["name"] for worker in info["workers"].values()} == {0, 1}
    assert all(worker["memory_limit"] > 0 for worker in info["workers"].values())
    assert cluster.scheduler_info["workers"].keys() == info["workers"].keys()
    assert "workers=2, threads=2" in repr(cluster)
    assert "processes=2 threads=2" in repr(client)
    assert client.dashboard_link == cluster.dashboard_link


# ---------------------------------------------------------------- from another process


def test_another_process_of_this_user(cluster: LocalCluster) -> None:
    assert run_python("-c", OTHER.format(address=cluster.scheduler_address)) == ("42\n", "")


def test_another_process_that_knows_the_secret(cluster: LocalCluster, tmp_path: Path) -> None:
    source = OTHER.replace("{address!r}", "{address!r}, secret={secret!r}")
    source = source.format(address=cluster.scheduler_address, secret=cluster.secret.hex())
    assert run_python("-c", source, XDG_RUNTIME_DIR=str(tmp_path)) == ("42\n", "")


def test_a_scheduler_file(cluster: LocalCluster, runtime_directory: Path) -> None:
    port = cluster.scheduler_address.rpartition(":")[2]
    [path] = (runtime_directory / "windrow").glob(f"{port}-*.json")
    with Client(scheduler_file=str(path), set_as_default=False) as client:
        assert client.submit(tasks.inc, 1).result() == 2


def test_another_process_without_the_secret(cluster: LocalCluster, tmp_path: Path) -> None:
    source = (
        "from windrow import Client\ntry: Client({address!r}, timeout=5)\nexcept OSError as error: print(repr(error))"
    )
    out, err = run_python("-c", source.format(address=cluster.scheduler_address), XDG_RUNTIME_DIR=str(tmp_path))
    assert out.startswith(f"WrongSecret('no secret for {cluster.scheduler_address} is known to this user")
    assert "run as the user who started it" in out
    assert err == ""


def test_a_wrong_secret(cluster: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WrongSecret, match=f"{cluster.scheduler_address} refuses this process: wrong secret"):
        Client(cluster.scheduler_address, secret=b"x" * 32)
    until(lambda: "does not hold this cluster's secret" in caplog.text, "the scheduler logs it")


def test_nobody_there(cluster: LocalCluster) -> None:
    with pytest.raises(TimeoutError, match="Check that the scheduler or worker runs"):
        Client("tcp://127.0.0.1:9", secret=b"x" * 32, timeout=0.1)


def test_an_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="tcp"):
        Client("carrier-pigeon://127.0.0.1:9", timeout=0.1)


def test_shutdown_from_another_process(start_python: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1)
    with Client(cluster) as client:
        [pid] = client.run(os.getpid).values()
        hopeless = client.submit(tasks.until_there, str(tmp_path / "never"))
        source = f"from windrow import Client\nClient({cluster.scheduler_address!r}).shutdown()"
        assert run_python("-c", source) == ("", "")
        with pytest.raises(FutureCancelledError, match="scheduler"):
            hopeless.result(timeout=5)
    until(lambda: cluster.status == "closed")
    until_gone([pid])


def test_the_end_of_the_scheduler_is_told(start_python: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    address_file = tmp_path / "address"
    program = start_python(
        "from windrow import Client\nimport os, time\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        f"open({str(address_file)!r} + '.draft', 'w').write(client.cluster.scheduler_address)\n"
        f"os.replace({str(address_file)!r} + '.draft', {str(address_file)!r})\ntime.sleep(100)"
    )
    address = until_file(address_file)
    with Client(address) as client:
        future = client.submit(tasks.until_there, str(tmp_path / "never"))
        program.kill()
        with pytest.raises(FutureCancelledError, match=f"the connection to the scheduler at {address} was lost"):
            future.result(timeout=5)
        with pytest.raises(ClosedClientError, match="was lost"):
            client.submit(tasks.inc, 1)


# ---------------------------------------------------------------- asynchronous


def test_async_with() -> None:
    async def main() -> None:
        async with Client(n_workers=1, threads_per_worker=1, asynchronous=True) as client:
            future = client.submit(tasks.inc, 1)
            assert await future == 2
            assert await future.result() == 2
            assert await client.gather(client.map(tasks.inc, range(10))) == list(range(1, 11))
            failed = client.submit(tasks.fail, 1)
            with pytest.raises(tasks.Oops):
                await failed
            pids = list((await client.run(os.getpid)).values())
        assert client.status == "closed"
        until_gone(pids)

    asyncio.run(main())


def test_await() -> None:
    async def main() -> None:
        cluster = await LocalCluster(n_workers=1, threads_per_worker=1, asynchronous=True)
        client = await Client(cluster, asynchronous=True)
        future = client.submit(tasks.inc, 1)
        assert await future == 2
        other = await Client(cluster.scheduler_address, asynchronous=True)
        future = other.submit(tasks.inc, 2)
        assert await future == 3
        await other.close()
        await client.close()
        await cluster.close()
        assert family() == before

    before = family()
    asyncio.run(main())


@pytest.mark.parametrize(
    "ask",
    [lambda future: future, lambda future: future.result(timeout=5), lambda future: future.exception(timeout=5)],
    ids=["itself", "result", "exception"],
)
def test_a_future_that_nobody_else_keeps_can_be_awaited(
    cluster: LocalCluster, tmp_path: Path, ask: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True) as client:

            async def result() -> object:
                return await ask(client.submit(tasks.until_there, str(tmp_path / "go")))

            waiting = asyncio.ensure_future(result())
            await asyncio.sleep(0)
            await client.who_has()  # by its answer a release would have arrived
            (tmp_path / "go").touch()
            await asyncio.wait_for(waiting, 5)

    asyncio.run(main())


def test_with_and_async_with_are_not_mixed(cluster: LocalCluster) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="async with"):
            with LocalCluster(asynchronous=True):
                pass
        with pytest.raises(TypeError, match="async with"):
            with Client(cluster, asynchronous=True):
                pass

    asyncio.run(main())


# ---------------------------------------------------------------- restart, scale, close


def test_restart_gives_fresh_workers(own_client: Client, tmp_path: Path) -> None:
    before = own_client.run(os.getpid)
    waiting = own_client.submit(tasks.until_there, str(tmp_path / "never"))
    done = own_client.submit(tasks.inc, 1)
    own_client.restart(timeout=10)
    after = own_client.run(os.getpid)
    assert len(after) == 2
    assert not set(before.values()) & set(after.values())
    with pytest.raises(FutureCancelledError, match="restarted"):
        waiting.result(timeout=5)
    assert done.cancelled()
    assert own_client.submit(tasks.inc, 1).result(timeout=5) == 2


def test_a_restart_by_another_client(own_cluster: LocalCluster, own_client: Client, tmp_path: Path) -> None:
    pending = own_client.submit(tasks.until_there, str(tmp_path / "never"))
    done = own_client.submit(bytes, 100_000)
    wait(done)
    with Client(own_cluster, set_as_default=False) as other:
        other.restart(timeout=10)
    for future in (pending, done):
        with pytest.raises(FutureCancelledError, match="restart"):
            future.result(timeout=5)
    assert own_client.submit(tasks.inc, 1).result(timeout=5) == 2


def test_the_environment_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_PROGRAM", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with LocalCluster(n_workers=1, threads_per_worker=1, env={"OWN": "2"}) as cluster, Client(cluster) as client:
        [found] = client.run(lambda: dict(os.environ)).values()
    expected = {"FROM_THE_PROGRAM": "1", "OPENBLAS_NUM_THREADS": "5", "OMP_NUM_THREADS": "1", "OWN": "2"}
    assert {name: found.get(name) for name in expected} == expected


def test_strings_hash_alike_on_all_workers(client: Client) -> None:
    assert len(set(client.run(hash, "text").values())) == 1


def test_scale_up_and_down(own_cluster: LocalCluster, own_client: Client) -> None:
    before = set(own_client.nthreads())
    own_cluster.scale(3)
    own_cluster.wait_for_workers(3, timeout=10)
    assert set(own_client.nthreads()) > before
    own_cluster.scale(1)
    until(lambda: len(own_client.nthreads()) == 1)
    until(lambda: len(family()) == 1 or len(own_cluster.workers) == 1)
    assert own_client.gather(own_client.map(tasks.inc, range(100))) == list(range(1, 101))
    with pytest.raises(ValueError, match="n must be"):
        own_cluster.scale(-1)
    with pytest.raises(WorkerStartTimeoutError, match="1 of 9 workers are there"):
        own_cluster.wait_for_workers(9, timeout=0.05)
    with pytest.raises(WorkerStartTimeoutError, match="1 of 9 workers are there"):
        own_client.wait_for_workers(9, timeout=0.05)


def test_a_closed_client_says_so(cluster: LocalCluster, tmp_path: Path) -> None:
    client = Client(cluster)
    future = client.submit(tasks.until_there, str(tmp_path / "go"))
    client.close()
    (tmp_path / "go").touch()
    assert future.status == "cancelled"
    for call in (
        lambda: client.submit(tasks.inc, 1),
        lambda: client.map(tasks.inc, [1]),
        lambda: client.scatter(1),
        lambda: client.run(os.getpid),
        lambda: client.who_has(),
    ):
        with pytest.raises(ClosedClientError, match="closed"):
            call()
    client.close()


def test_a_closed_cluster_says_so() -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1)
    client = Client(cluster)
    cluster.close()
    cluster.close()
    with pytest.raises(ClosedClientError, match="closed"):
        client.submit(tasks.inc, 1)
    with pytest.raises(RuntimeError, match="closed"):
        Client(cluster)
    with pytest.raises(RuntimeError, match="closed"):
        cluster.scale(2)
    client.close()


def test_shutdown_closes_the_cluster() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster:
        client = Client(cluster)
        pids = set(client.run(os.getpid).values())
        client.shutdown()
        assert cluster.status == client.status == "closed"
        until_gone(pids)


# ---------------------------------------------------------------- it cannot start


@pytest.mark.parametrize("env", [{"PYTHONHOME": "/nonexistent"}], ids=["no library"])
def test_a_worker_that_cannot_start(env: dict[str, str], runtime_directory: Path) -> None:
    before, files = family(), set(runtime_directory.rglob("*.json"))
    with pytest.raises(
        WorkerStartError, match=r"did not come up in 3 attempts.*exited with code 1.*last words: .*encodings"
    ):
        LocalCluster(n_workers=2, threads_per_worker=1, env=env)
    assert family() == before
    assert set(runtime_directory.rglob("*.json")) == files


def test_a_worker_that_never_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.offspring._START", "import time; time.sleep(100)")
    monkeypatch.setattr("windrow.config.seconds", lambda key: 0.2)
    before = family()
    with pytest.raises(WorkerStartTimeoutError, match=r"0 of 1 workers are there after 0.2 s"):
        LocalCluster(n_workers=1, threads_per_worker=1)
    assert family() == before


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_workers": -1}, "n_workers"),
        ({"n_workers": "two"}, "n_workers"),
        ({"n_workers": True}, "n_workers"),
        ({"threads_per_worker": 0}, "threads_per_worker"),
        ({"memory_limit": "lots"}, "lots"),
        ({"memory_limit": -1}, "memory"),
        ({"scheduler_port": -5}, "port"),
        ({"env": "PATH"}, "env"),
        ({"name": 3}, "name"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, object], words: str) -> None:
    before = threading.active_count()
    with pytest.raises((TypeError, ValueError, OSError), match=words):
        LocalCluster(**{"n_workers": 0, **wrong})  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_a_port_that_is_taken(cluster: LocalCluster) -> None:
    port = int(cluster.scheduler_address.rpartition(":")[2])
    with pytest.raises(RuntimeError, match="Choose another port") as caught:
        LocalCluster(n_workers=1, scheduler_port=port)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_cluster_without_workers_waits_for_them() -> None:
    with LocalCluster(n_workers=0) as cluster, Client(cluster) as client:
        future = client.submit(tasks.inc, 1)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.02)
        cluster.scale(1)
        assert future.result(timeout=10) == 2


def test_errors_of_starting_are_windrows_own() -> None:
    assert issubclass(WorkerStartError, WindrowError)
    assert issubclass(WorkerStartTimeoutError, TimeoutError)


def test_a_blocking_client_on_the_thread_of_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> int:
        with Client(n_workers=1, threads_per_worker=1) as client:
            squares = client.map(lambda x: x**2, range(10))
            total: int = client.submit(sum, squares).result(timeout=10)
        return total

    assert asyncio.run(cell()) == 285

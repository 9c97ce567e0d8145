"""What a client tells of its cluster, asked of a real one in this process."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from windrow import Client, LocalCluster, versions
from windrow.client.artefact import ClusterDump, DumpArtefact
from windrow.versions import VersionMismatchWarning

LIMIT_S = 10.0

go = threading.Event()
"""Tasks of this process wait for it."""


def waiting(x: int) -> int:
    go.wait(LIMIT_S)
    return x


async def waiting_on_the_loop() -> int:
    while not go.is_set():
        await asyncio.sleep(0.001)
    return 1


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.001)
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    go.clear()
    with Client(cluster) as client:
        yield client
        go.set()
        client.gather(list(_alive), errors="skip")
        _alive.clear()


_alive: list[Any] = []


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    [address] = cluster.scheduler_info["workers"]
    return address


# ---------------------------------------------------------------- tasks


def test_keys_that_are_tuples_stay_tuples(client: Client, address: str) -> None:
    future = client.submit(abs, -1, key=("x", (0, 1)))
    future.result()
    assert client.who_has(future) == {("x", (0, 1)): [address]}
    assert client.who_has([future])[future.key] == [address]
    assert client.has_what() == {address: [("x", (0, 1))]}
    running = client.submit(waiting, 1, key=("y", 2))
    _alive.append(running)
    until(lambda: client.processing() == {address: [("y", 2)]})


def test_who_has_takes_collections(client: Client, address: str) -> None:
    da = pytest.importorskip("dask.array")
    x = client.persist(da.ones(4, chunks=2))
    client.compute(x.sum()).result(LIMIT_S)
    assert set(client.who_has(x)) == set(x.__dask_keys__())
    assert client.nbytes(x, summary=False).keys() == client.who_has(x).keys()


def test_nbytes_by_key_and_by_what_keys_begin_with(client: Client) -> None:
    futures = [client.submit(bytes, 1000 * n, key=("part-a1b2", n)) for n in (1, 2)]
    other = client.submit(bytes, 500, key="other")
    client.gather([*futures, other])
    sizes = client.nbytes(summary=False)
    assert sizes.keys() == {("part-a1b2", 1), ("part-a1b2", 2), "other"}
    assert sizes["part-a1b2", 2] - sizes["part-a1b2", 1] == 1000
    assert client.nbytes() == {"part": sizes["part-a1b2", 1] + sizes["part-a1b2", 2], "other": sizes["other"]}
    assert client.nbytes(keys=[other, ("part-a1b2", 1)], summary=False).keys() == {"other", ("part-a1b2", 1)}
    assert client.nbytes(keys=["never"]) == {}


def test_call_stacks_of_threads_and_coroutines(client: Client, address: str) -> None:
    assert client.call_stack() == {}
    first, second = client.submit(waiting, 1, key=("t", 0)), client.submit(waiting_on_the_loop, key="c")
    _alive.extend([first, second])
    stacks = until(lambda: (found := client.call_stack()) and len(found[address]) == 2 and found[address])
    assert "in waiting\n" in stacks["t", 0][0]
    assert "go.wait(LIMIT_S)" in stacks["t", 0][0]
    assert "in wait\n" in stacks["t", 0][-1]
    assert "in waiting_on_the_loop\n" in stacks["c"][0]
    assert client.call_stack(first).keys() == {address}
    assert client.call_stack([second])[address].keys() == {"c"}
    assert client.call_stack(keys=[("t", 0)])[address].keys() == {("t", 0)}
    assert client.call_stack(keys=["never"]) == {}


def test_story_is_where_a_task_stands(client: Client, address: str) -> None:
    done, running = client.submit(abs, -1, key=("d", 0)), client.submit(waiting, 1, key="r")
    blocked = client.submit(waiting, running, key="b")
    _alive.extend([running, blocked])
    done.result()
    until(lambda: (address, "r", "running", {}) in client.story(running))
    records = client.story(done, "r", "b", "never")
    assert [record[:3] for record in records if record[0] == "scheduler"] == [
        ("scheduler", ("d", 0), "memory"),
        ("scheduler", "r", "processing"),
        ("scheduler", "b", "waiting"),
    ]
    facts = records[2][3]
    assert facts["dependencies"] == ["r"]
    assert facts["who_wants"] == [client.id]
    with pytest.raises(ValueError, match="on_error"):
        client.story("x", on_error="shrug")


def failing() -> None:
    raise ZeroDivisionError("of course")


def test_story_of_an_error_says_what_and_where(client: Client) -> None:
    bad = client.submit(failing, key=("bad", 1))
    after = client.submit(abs, bad, key="after")
    assert isinstance(after.exception(LIMIT_S), ZeroDivisionError)
    [(_, _, state, facts)] = client.story("after")
    assert (state, facts["erred_on"]) == ("erred", ("bad", 1))
    assert "of course" in facts["error"]


def test_keys_of_the_wrong_kind_err_at_the_call(client: Client) -> None:
    with pytest.raises(TypeError, match="keys, futures or collections"):
        client.nbytes(keys=[object()])


# ---------------------------------------------------------------- versions and logs


def test_versions_of_all_parties(client: Client, address: str) -> None:
    found = client.get_versions(packages=["pip"])
    assert found["client"]["packages"]["pip"]
    assert found["scheduler"] == found["client"] == found["workers"][address]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.get_versions(check=True)
    with pytest.raises(TypeError, match="packages"):
        client.get_versions(packages="pip")


def test_a_difference_is_warned_of_when_it_is_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(range(9))
    monkeypatch.setattr(versions, "_version", lambda name: str(next(told)) if name == "dask" else "1")
    with pytest.warns(VersionMismatchWarning, match=r"dask: client \d, scheduler \d"):
        client.get_versions(check=True)


def test_logs_of_scheduler_and_workers(client: Client, address: str) -> None:
    logging.getLogger("windrow.scheduler").error("said by a scheduler")
    logging.getLogger("distributed.worker").warning("said by a task")
    [(level, text)] = client.get_scheduler_logs(1)
    assert (level, text.rpartition(" - ")[2]) == ("ERROR", "said by a scheduler")
    assert client.get_worker_logs(n=1)[address][0][1].endswith("said by a task")
    assert client.get_worker_logs(workers=[address]).keys() == {address}
    for wrong in (-1, "all", True):
        with pytest.raises(ValueError, match="n must be"):
            client.get_scheduler_logs(wrong)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(("format", "suffix"), [("msgpack", ".msgpack.gz"), ("yaml", ".yaml")])
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_the_state_of_a_cluster_is_written_to_a_file(
    format: str, suffix: str, prefix: str, client: Client, address: str, tmp_path: Path
) -> None:
    done = client.submit(abs, -1, key=("d", 0))
    running = client.submit(waiting, done, key="r")
    _alive.append(running)
    until(lambda: (address, "r", "running", {}) in client.story(running))
    client.dump_cluster_state(f"{prefix}{tmp_path}/dump", format=format, exclude=["attempt"])
    data = (tmp_path / f"dump{suffix}").read_bytes()
    state = yaml.safe_load(data) if format == "yaml" else msgspec.msgpack.decode(gzip.decompress(data))
    assert state.keys() == {"scheduler", "workers", "versions"}
    tasks = state["scheduler"]["tasks"]
    assert tasks["('d', 0)"]["state"] == "memory"
    assert tasks["r"]["dependencies"] == ["('d', 0)"]
    assert "attempt" not in tasks["r"]
    assert state["workers"][address]["tasks"]["r"] == {"key": "r", "state": "running"}
    assert state["versions"]["client"]["packages"]["python"]


def test_a_dump_can_be_read_and_asked(client: Client, address: str, tmp_path: Path) -> None:
    done = client.submit(abs, -1, key=("d", 0))
    running = client.submit(waiting, done, key="r")
    _alive.append(running)
    until(lambda: (address, "r", "running", {}) in client.story(running))
    for format, suffix in (("msgpack", ".msgpack.gz"), ("yaml", ".yaml")):
        client.dump_cluster_state(tmp_path / "dump", format=format)
        dump = DumpArtefact.from_url(str(tmp_path / f"dump{suffix}"))
        assert set(dump) == {"scheduler", "workers", "versions"}
        assert [task["key"] for task in dump.scheduler_tasks_in_state("memory")] == ["('d', 0)"]
        assert len(dump.scheduler_tasks_in_state()) == 2
        assert [task["key"] for task in dump.worker_tasks_in_state("running")] == ["r"]
        story = dump.scheduler_story(("d", 0), "never")
        assert [record["state"] for record in story["d", 0]] == ["memory"]
        assert story["never"] == []
        assert dump.worker_story("r") == {"r": [{"worker": address, "key": "r", "state": "running"}]}
        assert dump.missing_workers() == []
    dump.to_yamls(tmp_path / "small")
    tasks = yaml.safe_load((tmp_path / "small" / "scheduler" / "tasks.yaml").read_text())
    assert tasks["r"]["state"] == "processing"
    assert (tmp_path / "small" / address.replace("://", "-") / "general.yaml").is_file()
    with pytest.raises(ValueError, match="url must end with"):
        DumpArtefact.from_url(str(tmp_path / "dump"))


@pytest.mark.parametrize("processes", [False, True])
def test_a_scheduler_writes_its_state_before_it_closes(processes: bool, tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=processes) as cluster, Client(cluster) as client:
        future = client.submit(abs, -1, key="last")
        future.result()
        client.register_plugin(ClusterDump(str(tmp_path / "dump"), format_="yaml"))
        cluster.close()
    dump = DumpArtefact.from_url(str(tmp_path / "dump.yaml"))
    assert [task["key"] for task in dump.scheduler_tasks_in_state("memory")] == ["last"]
    with pytest.raises(ValueError, match="format"):
        ClusterDump("x", format_="xml")


def test_the_hooks_of_a_dump_can_be_called_by_hand(client: Client, cluster: LocalCluster, tmp_path: Path) -> None:
    dump = ClusterDump(str(tmp_path / "by-hand"), exclude=["who_wants"])
    client.set_metadata("x", 1)
    client.sync(dump.start, cluster.scheduler)
    client.sync(dump.before_close)
    assert DumpArtefact.from_url(str(tmp_path / "by-hand.msgpack.gz"))["workers"]


def test_a_wrong_dump_errs_at_the_call(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'msgpack', 'yaml', not 'xml'"):
        client.dump_cluster_state(str(tmp_path / "dump"), format="xml")
    with pytest.raises(TypeError, match="exclude"):
        client.dump_cluster_state(str(tmp_path / "dump"), exclude="state")


def test_another_client_connects_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text("old")
    path.chmod(0o644)
    with Client(n_workers=0, processes=True) as client:
        client.write_scheduler_file(str(path))
        assert path.stat().st_mode & 0o777 == 0o600
        assert json.loads(path.read_text())["address"] == client.scheduler.address
        client.set_metadata("x", 1)
        with Client(scheduler_file=str(path)) as other:
            assert other.get_metadata("x") == 1
            with pytest.raises(ValueError, match="has its scheduler from"):
                other.write_scheduler_file(str(path))


# ---------------------------------------------------------------- client.scheduler


def test_the_scheduler_is_asked_by_name_within_sync(client: Client, address: str) -> None:
    future = client.submit(abs, -1, key=("x", 0))
    future.result()
    client.set_metadata(["m", "n"], 5)

    async def asking() -> list[Any]:
        scheduler = client.scheduler
        return [
            await scheduler.who_has(keys=[("x", 0)]),
            await scheduler.has_what(workers=[address]),
            (await scheduler.identity())["workers"].keys(),
            (await scheduler.identity(n_workers=0))["workers"],
            await scheduler.ncores(),
            (await scheduler.nbytes(keys=[("x", 0)], summary=False)).keys(),
            await scheduler.processing(),
            await scheduler.get_metadata(keys=["m", "n"]),
            await scheduler.get_metadata(keys=["never"], default=7),
        ]

    assert client.sync(asking) == [
        {("x", 0): [address]},
        {address: [("x", 0)]},
        {address},
        {},
        {address: 2},
        {("x", 0)},
        {address: []},
        5,
        7,
    ]


def test_the_scheduler_has_an_address_and_says_what_it_can_be_asked(client: Client, cluster: LocalCluster) -> None:
    assert client.scheduler.address == client.scheduler.addr == cluster.scheduler_address
    assert "who_has" in dir(client.scheduler)
    with pytest.raises(AttributeError, match=r"no 'fly'; there are addr, address, get_metadata"):
        client.sync(client.scheduler.fly)
    assert not hasattr(client.scheduler, "_fly")
    with pytest.raises(ValueError, match="name the workers"):
        client.sync(client.scheduler.retire_workers)


async def _asynchronously() -> None:
    async with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, asynchronous=True) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            future = client.submit(abs, -1, key="x")
            await future
            assert (await client.scheduler.who_has(keys=["x"])).keys() == {"x"}
            assert client.scheduler.address == cluster.scheduler_address
            assert (await client.nbytes()).keys() == {"x"}
            assert (await client.get_versions())["client"]
            assert await client.call_stack() == {}
            assert (await client.story("x"))[0][2] == "memory"
            assert isinstance(await client.get_scheduler_logs(), list)
            assert len(await client.get_worker_logs()) == 1


def test_all_of_it_on_an_asynchronous_client() -> None:
    asyncio.run(_asynchronously())


class Foreign:
    """A kind of cluster of a program's own, which knows no more than where its scheduler is."""

    def __init__(self, address: str) -> None:
        self.scheduler_address = address


def test_a_cluster_of_a_programs_own_kind_needs_nothing_but_an_address(cluster: LocalCluster) -> None:
    with Client(Foreign(cluster.scheduler_address), set_as_default=False) as client:
        assert client.submit(abs, -1).result() == 1


def test_a_scheduler_is_ended_by_its_proxy() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        with Client(cluster, set_as_default=False) as client:
            client.sync(client.scheduler.terminate)
        until(lambda: cluster.status.name == "closed")

"""What `Client.explain` takes, and what a client adds to what the scheduler says; and a real cluster."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import warnings

import dask
import pytest
from click.testing import CliRunner

from windrow import Client, LocalCluster, security
from windrow.cli.main import main
from windrow.client.explain import keys_in
from windrow.client.future import Future
from windrow.errors import CannotRunWarning, NoValidWorkerError


def test_what_is_to_be_explained() -> None:
    future = Future.unbound("x")
    assert keys_in(future) == (["x"], False)
    assert keys_in([future, future]) == (["x"], True)
    assert keys_in({"a": [future]}) == (["x"], True)
    assert keys_in("inc-1") == (["inc-1"], False)
    assert keys_in(("x", 0)) == ([("x", 0)], False)
    assert keys_in(["x", ("x", 0)]) == (["x", ("x", 0)], True)
    with pytest.raises(TypeError, match="what must be a future"):
        keys_in(object())


gate = threading.Event()
"""Tasks of workers in this process wait for it."""


def wait_at_gate() -> int:
    gate.wait(60)
    return -1


def test_explanations_of_a_real_cluster() -> None:
    gate.clear()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        running = client.submit(wait_at_gate, key="running")
        try:
            waiting = client.submit(abs, running, key="waiting")
            never = client.submit(abs, -1, key="never", resources={"GPU": 1})
            told = waiting.explain()
            assert told.state in ("waiting", "processing")
            assert told.to_dict()["text"] == str(told).splitlines()
            again = client.submit(abs, -1, key="never")
            shared = client.explain(never)
            assert shared.futures == 2
            assert "2 futures of this client share this key: equal calls are one task" in repr(shared)
            assert shared.causes[0].kind == "resource"
            del again
            both = client.explain([waiting, never])
            assert sum(both.states.values()) >= 2
            [worker] = client.scheduler_info()["workers"]
            assert client.explain(worker=worker).processing >= 1
            assert "GPU=1" in repr(client.explain())
            never.cancel()
            assert "cancelled by its client" in repr(client.explain(never))
            assert client.explain("nobody's").state == "unknown"
            with pytest.raises(TypeError, match="a task or a worker, not both"):
                client.explain(never, worker=worker)
            gate.set()
            assert waiting.result() == 1
            assert client.explain(waiting).state == "memory"
        finally:
            gate.set()


def held_at_gate(part: int) -> int:
    gate.wait(60)
    return part


def test_a_collection_is_summed_up_by_what_it_waits_for() -> None:
    """A bag of eight parts on one thread: the first waits at the gate, and all else for it."""
    bags = pytest.importorskip("dask.bag")
    gate.clear()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        bag = bags.from_sequence(range(8), npartitions=8).map(held_at_gate).sum()
        try:
            kept = client.persist(bag)
            end_s = time.monotonic() + 20
            while "on a worker" not in str(told := client.explain(kept)):
                assert time.monotonic() < end_s, told
            assert told.states["processing"] >= 1
            assert told.states.get("queued", 0) + told.states["processing"] >= 8
            assert told.states["waiting"] >= 1
            assert any("it runs on worker" in line for line in told.lines), told
            assert "sum-" in str(client.explain(client.futures_of(kept)[0]))
        finally:
            gate.set()
        assert kept.compute() == 28
        assert str(client.explain(kept)).endswith("All are done.")


def test_an_asynchronous_client_awaits_it() -> None:
    async def run() -> str:
        async with (
            LocalCluster(n_workers=1, processes=False, dashboard_address=None, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            future = client.submit(abs, -1)
            await future
            told = await client.explain(future)
            return str((await future.explain()).state) + told.state

    assert asyncio.run(run()) == "memorymemory"


def test_the_command_asks_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        future = client.submit(abs, -1, key="never", workers=["alice"])
        address = cluster.scheduler_address
        client.explain(future)  # it has arrived
        monkeypatch.setattr(security, "published", lambda: [address])
        shown = CliRunner().invoke(main, ["explain", "never"])  # of the only one
        assert shown.exit_code == 0, shown.output
        assert shown.output.startswith(
            "'never' is queued: no worker can run it now: it names worker 'alice'; there are no"
        )
        facts = json.loads(CliRunner().invoke(main, ["explain", "--json", "never", address]).output)
        assert facts["causes"][0]["kind"] == "no-workers"
        nobody = CliRunner().invoke(main, ["explain", "--worker", "0", address])
        assert (nobody.exit_code, nobody.stderr) == (
            1,
            "Worker '0' is not known: there is no such worker; there are none.\n",
        )
        assert "1 task, such as 'never'" in CliRunner().invoke(main, ["explain", "--all", address]).output
        unknown = CliRunner().invoke(main, ["explain", "nope", address])
        assert (unknown.exit_code, unknown.output[:20]) == (1, "'nope' is not known:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "what is to be explained?"),
        (["x", "tcp://127.0.0.1:1", "--scheduler-file", "f"], "both say where the scheduler is"),
        (["x", "--scheduler-file", "/no/such/file"], "there is no scheduler file '/no/such/file'"),
        (["x", "tcp://127.0.0.1:13"], "nobody answers at tcp://127.0.0.1:13"),
        (["x"], "say which of tcp://a, tcp://b"),
        (["--worker", "a", "--all"], "give one of them"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "published", lambda: ["tcp://a", "tcp://b"])
    result = CliRunner().invoke(main, ["explain", *arguments])
    assert result.exit_code == 1
    assert words in result.output.replace("\n", " ")


def test_a_client_is_warned_of_what_nobody_can_run_within_5_s() -> None:
    """And the dask configuration's no-workers-timeout ends the wait."""
    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "5s"}),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        began_s = time.perf_counter()
        futures = client.map(abs, range(-100, 0), resources={"GPU": 1})
        errors = [future.exception(timeout=60) for future in futures]
        ended_s = time.perf_counter() - began_s
        told = [each for each in caught if each.category is CannotRunWarning]
        assert len(told) == 1
        assert "No worker can run 100 tasks, such as 'abs-" in str(told[0].message)
        assert "asks for GPU=1; of 1 worker none has GPU" in str(told[0].message)
        assert {type(error) for error in errors} == {NoValidWorkerError}
        assert ended_s >= 5.0
        events = [event for _, event in client.get_events("scheduler")]
        assert [event["count"] for event in events if event["action"] == "no-worker-can-run"] == [100]

"""Events, metadata and datasets, from a user's call to the scheduler and back: in one process, and across processes."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import windrow
from windrow import Client, Future, LocalCluster
from windrow.scheduler.invariants import check_invariants

LIMIT_S = 20.0


@pytest.fixture(scope="module", params=[False, True], ids=["threads", "processes"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=request.param) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client
        client.unpublish_dataset(list(client.list_datasets()))
    check_invariants(cluster.scheduler.core.state)


# ---------------------------------------------------------------- events


def test_an_event_comes_back_to_who_has_subscribed_and_who_asks(client: Client) -> None:
    got: queue.Queue[Any] = queue.Queue()
    client.subscribe_topic("mine", got.put)
    client.log_event(["mine", "ours"], {"n": (1, 2)})
    time, event = got.get(timeout=LIMIT_S)
    assert event == {"n": [1, 2]}
    assert client.get_events("mine")[-1] == (time, event)
    assert client.get_events()["ours"][-1] == (time, event)


def logging_task(topic: str) -> str:
    windrow.get_worker().log_event(topic, "from the worker")
    windrow.get_client().log_event(topic, "from its client")
    return topic


def test_tasks_log_events_by_worker_and_by_client(client: Client) -> None:
    topic = client.submit(logging_task, "of-tasks", pure=False).result(LIMIT_S)
    assert client.get_events(topic)[-2:][0][1] == "from the worker"


def test_asynchronous_clients_log_subscribe_and_ask(cluster: LocalCluster) -> None:
    async def use() -> None:
        async with Client(cluster.scheduler.address, asynchronous=True, secret=cluster.secret) as client:
            heard: asyncio.Queue[Any] = asyncio.Queue()
            client.subscribe_topic("async", heard.put)
            await client.log_event("async", 1)
            assert (await asyncio.wait_for(heard.get(), LIMIT_S))[1] == 1
            assert (await client.get_events("async"))[-1][1] == 1
            client.unsubscribe_topic("async")

    asyncio.run(use())


def saying(x: int) -> int:
    windrow.print("task says", x, sep=": ")
    windrow.print("to stderr", file=sys.stderr)
    windrow.warn("it is late", DeprecationWarning)
    return x


def test_a_tasks_words_arrive_at_the_client(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    said: queue.Queue[Any] = queue.Queue()
    client.subscribe_topic("print", said.put)
    warned: queue.Queue[Any] = queue.Queue()
    client.subscribe_topic("warn", warned.put)
    client.submit(saying, 1, pure=False).result(LIMIT_S)
    words = said.get(timeout=LIMIT_S)[1]
    assert words == {"args": ["task says", "1"], "sep": ": ", "end": "\n", "file": None, "flush": False}
    assert said.get(timeout=LIMIT_S)[1]["file"] == 2
    warning = warned.get(timeout=LIMIT_S)[1]
    assert (warning["text"], warning["filename"]) == ("it is late", __file__)


def printing_wrongly() -> None:
    windrow.print("x", file=open(os.devnull, "w"))  # noqa: SIM115


def test_a_task_cannot_print_to_a_file_that_clients_have_not(client: Client) -> None:
    with pytest.raises(TypeError, match=r"can go to sys\.stdout and sys\.stderr"):
        client.submit(printing_wrongly, pure=False).result(LIMIT_S)


def test_outside_of_tasks_print_and_warn_are_the_builtins(capsys: pytest.CaptureFixture[str]) -> None:
    windrow.print("a", 1, sep="-", end="!")
    assert capsys.readouterr().out == "a-1!"
    with pytest.warns(DeprecationWarning, match="old") as caught:
        windrow.warn("old", DeprecationWarning)
    assert caught[0].filename == __file__


SCRIPT = """
import sys, windrow
from windrow import Client
def say(x):
    windrow.print("words", x)
    windrow.print("mistakes", x, file=sys.stderr)
    windrow.warn("beware")
    return x
with Client(n_workers=1, threads_per_worker=1, processes={processes}) as client:
    client.gather(client.map(say, range(3)))
"""


@pytest.mark.parametrize("processes", [True, False])
def test_a_tasks_words_are_in_the_terminal_once(processes: bool) -> None:
    program = SCRIPT.format(processes=processes)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout.splitlines() == ["words 0", "words 1", "words 2"]
    mistakes = [line for line in done.stderr.splitlines() if line.startswith("mistakes")]
    assert mistakes == ["mistakes 0", "mistakes 1", "mistakes 2"]
    assert done.stderr.count("UserWarning: beware") == 3 if processes else done.stderr.count("UserWarning: beware") >= 1


def logging_by_python(name: str) -> None:
    logging.getLogger(name).warning("look %s", "here")


class Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: queue.Queue[logging.LogRecord] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.put(record)


def test_log_records_of_workers_are_handled_here_once(cluster: LocalCluster, client: Client) -> None:
    collected = Collected()
    logger = logging.getLogger("forwarded.package")
    logger.addHandler(collected)
    try:
        client.forward_logging("forwarded.package")
        client.submit(logging_by_python, "forwarded.package", pure=False).result(LIMIT_S)
        assert collected.records.get(timeout=LIMIT_S).getMessage() == "look here"
        client.unforward_logging("forwarded.package")
        client.submit(logging_by_python, "forwarded.package", pure=False).result(LIMIT_S)
        client.log_event("barrier", None)
        client.get_events("barrier")
        assert collected.records.qsize() == (0 if cluster.processes else 1)  # in one process it is here anyway
        with pytest.raises(ValueError, match="no subscription"):
            client.unforward_logging("forwarded.package")
    finally:
        logger.removeHandler(collected)


# ---------------------------------------------------------------- metadata


def test_metadata_is_one_for_all_clients(cluster: LocalCluster, client: Client) -> None:
    client.set_metadata("a", 1)
    client.set_metadata(["x", "y", ("t", 0)], {"v": (1, None)})
    client.set_metadata(("one", "key"), 2)
    with Client(cluster) as other:
        assert other.get_metadata("a") == 1
        assert other.get_metadata(["x", "y", ("t", 0), "v"]) == [1, None]
        assert other.get_metadata(("x", "y")) == {("t", 0): {"v": [1, None]}}
        assert other.get_metadata([("one", "key")]) == 2
        assert other.get_metadata(["x", "never"], default=None) is None
        with pytest.raises(KeyError, match="never"):
            other.get_metadata("never")


def test_a_value_given_or_got_may_be_changed(client: Client) -> None:
    value = {"list": [1]}
    client.set_metadata("changing", value)
    value["list"].append(2)
    client.get_metadata("changing")["list"].append(3)
    assert client.get_metadata("changing") == {"list": [1]}


def test_wrong_metadata_errs_at_the_call(client: Client) -> None:
    with pytest.raises(TypeError, match=r"value\[0\] is an object"):
        client.set_metadata("a", [object()])
    with pytest.raises(TypeError, match="key must be a string"):
        client.set_metadata(b"a", 1)
    with pytest.raises(ValueError, match="at least one key"):
        client.get_metadata([])


# ---------------------------------------------------------------- datasets


def test_datasets_outlive_the_client_that_published_them(cluster: LocalCluster, client: Client) -> None:
    with Client(cluster) as first:
        future = first.submit(sum, [1, 2], key=("three", 0))
        first.publish_dataset(plain=[1, "a"], deep={"f": [future, 4]})
        first.publish_dataset(future, name=("of", 3))
        first.publish_dataset(future, 5, name="two")
        first.publish_dataset({"by-dict": 6})
    assert client.list_datasets() == ("by-dict", "deep", "plain", "two", ("of", 3))
    assert client.get_dataset("plain") == [1, "a"]
    assert client.get_dataset("deep")["f"][0].result(LIMIT_S) == 3
    got, five = client.get_dataset("two")
    assert (got.result(LIMIT_S), five) == (3, 5)
    assert got.client is client
    [again, six] = client.get_dataset([("of", 3), "by-dict"])
    assert (again.result(LIMIT_S), six) == (3, 6)


def test_collections_are_published_with_their_data(cluster: LocalCluster, client: Client) -> None:
    da = pytest.importorskip("dask.array")
    with Client(cluster) as first:
        x = first.persist(da.arange(10, chunks=4))
        first.publish_dataset(x=x)
        del x
    x = client.datasets["x"]
    assert all(isinstance(part, Future) for part in windrow.futures_of(x))
    assert client.compute(x.sum()).result(LIMIT_S) == 45


def test_an_existing_name_wants_override(client: Client) -> None:
    client.publish_dataset(x=1)
    with pytest.raises(KeyError, match="there already"):
        client.publish_dataset(x=2, y=3)
    assert client.list_datasets() == ("x",)
    client.publish_dataset(x=2, override=True)
    assert client.get_dataset("x") == 2


def test_what_is_not_published_is_a_key_error_or_the_default(client: Client) -> None:
    client.publish_dataset(x=1)
    with pytest.raises(KeyError, match="'never'"):
        client.get_dataset("never")
    assert client.get_dataset("never", default=None) is None
    assert client.get_dataset(["never", "x"], default=0) == [0, 1]
    client.unpublish_dataset("never")
    client.unpublish_dataset(["x"])
    assert client.list_datasets() == ()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1,), {}), ((), {"name": "x"}), ((1,), {"name": "x", "y": 2}), (({"x": 1}, 2), {}), ((1,), {"y": 2})],
)
def test_publishing_without_a_clear_name_is_a_value_error(args: Any, kwargs: Any, client: Client) -> None:
    with pytest.raises(ValueError, match="publish_dataset"):
        client.publish_dataset(*args, **kwargs)


def test_what_cannot_travel_is_named_with_its_dataset(client: Client) -> None:
    with pytest.raises(windrow.PickleError, match=r"The dataset 'x'.*lock"):
        client.publish_dataset(x=[threading.Lock()])


def test_datasets_are_a_mapping(client: Client) -> None:
    datasets = client.datasets
    assert (len(datasets), list(datasets), "x" in datasets) == (0, [], False)
    datasets["x"] = 1
    assert (len(datasets), list(datasets), "x" in datasets, datasets["x"]) == (1, ["x"], True, 1)
    assert repr(datasets) == "<Datasets: 'x'>"
    with pytest.raises(KeyError):
        datasets["x"] = 2
    del datasets["x"]
    with pytest.raises(KeyError, match="'x'"):
        del datasets["x"]


async def _asynchronously() -> None:
    async with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, asynchronous=True) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            await client.publish_dataset(x=client.submit(abs, -3))
            assert await (await client.get_dataset("x")) == 3
            assert [name async for name in client.datasets] == ["x"]
            assert repr(client.datasets) == "<Datasets of an asynchronous client>"
            for use in (list, len, lambda view: "x" in view, lambda view: view["x"], lambda view: view.pop("x")):
                with pytest.raises(TypeError, match=r"await|async for"):
                    use(client.datasets)
            await client.unpublish_dataset("x")
            assert await client.list_datasets() == ()
            await client.set_metadata("m", 1)
            assert await client.get_metadata("m") == 1
            heard: asyncio.Queue[Any] = asyncio.Queue()
            client.subscribe_topic("t", heard.put)
            await client.log_event("t", 1)
            assert (await asyncio.wait_for(heard.get(), LIMIT_S))[1] == 1


def test_all_of_it_on_an_asynchronous_client() -> None:
    asyncio.run(_asynchronously())


def test_after_a_restart_names_are_there_and_results_are_not() -> None:
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        client.publish_dataset(f=client.submit(abs, -3), plain=4)
        client.set_metadata("m", 1)
        client.restart(wait_for_workers=False)
        assert client.list_datasets() == ("f", "plain")
        assert client.get_dataset("plain") == 4
        with pytest.raises(windrow.CancelledError):
            client.get_dataset("f").result(LIMIT_S)
        assert client.get_metadata("m") == 1

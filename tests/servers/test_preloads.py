"""Preloads of schedulers, workers and clients: modules, files, addresses, source text."""

from __future__ import annotations

import asyncio
import functools
import http.server
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest

from windrow import Client, LocalCluster, Scheduler, Worker
from windrow.preload import Preloads

Live = Callable[[Any], Any]

PLAIN = """
def dask_setup(party):
    party.said = ["set up"]

def dask_teardown(party):
    party.said.append("torn down")
"""

ASYNC = """
async def dask_setup(party):
    party.said = ["set up async"]

async def dask_teardown(party):
    party.said.append("torn down async")
"""

COMMAND = """
import click

@click.command()
@click.argument("words", nargs=-1)
@click.option("--count", default=0)
def dask_setup(party, words, count):
    party.said = [words, count]
"""


class Party:
    said: Any = None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules to import."""
    (tmp_path / "preload_plain.py").write_text(PLAIN)
    (tmp_path / "preload_async.py").write_text(ASYNC)
    (tmp_path / "preload_command.py").write_text(COMMAND)
    (tmp_path / "preload_broken.py").write_text("raise OSError('no such library')")
    (tmp_path / "preload_nothing.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("preload_")]:
        del sys.modules[name]


async def started(source: Any, argv: Any = None) -> Any:
    party = Party()
    preloads = Preloads(party, source, argv)
    await preloads.start()
    await preloads.teardown()
    return party.said


def test_forms(folder: Path) -> None:
    assert asyncio.run(started("preload_plain")) == ["set up", "torn down"]
    assert asyncio.run(started(["preload_async"])) == ["set up async", "torn down async"]
    assert asyncio.run(started(str(folder / "preload_plain.py"))) == ["set up", "torn down"]
    assert asyncio.run(started(PLAIN)) == ["set up", "torn down"]
    assert asyncio.run(started("preload_nothing")) is None
    assert asyncio.run(started("preload_command", ["a", "b", "--count", 2])) == [("a", "b"), 2]
    assert asyncio.run(started(["preload_command"], [["c"]])) == [("c",), 0]


def test_a_file_is_loaded_anew(folder: Path) -> None:
    path = folder / "preload_plain.py"
    assert asyncio.run(started(str(path))) == ["set up", "torn down"]
    path.write_text("def dask_setup(party):\n    party.said = 'something else'\n")
    assert asyncio.run(started(str(path))) == "something else"


def test_a_web_address(folder: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            return

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/preload_plain.py"
        assert asyncio.run(started(address)) == ["set up", "torn down"]
        server.shutdown()


def test_what_goes_wrong_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(started(["preload_broken", "preload_plain"])) == ["set up", "torn down"]
    assert "the preload preload_broken could not be set up; without it" in caplog.text
    assert "no such library" in caplog.text
    caplog.clear()
    assert asyncio.run(started("preload_command", ["--nope"])) is None
    assert "preload_command" in caplog.text
    assert "No such option" in caplog.text
    caplog.clear()
    assert asyncio.run(started("def dask_setup(party):\n    raise SystemExit(3)")) is None
    assert "the preload source text ended with code 3" in caplog.text


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="there are 1 preloads, and arguments for 2"):
        Preloads(None, ["x"], [["a"], ["b"]])
    with pytest.raises(TypeError, match="a preload is a str"):
        Preloads(None, [7])  # type: ignore[list-item]


def test_parties(live: Live, folder: Path) -> None:
    async def main() -> None:
        configured = {
            "distributed.worker.preload": [PLAIN],
            "distributed.client.preload": "preload_async",
            "distributed.scheduler.preload": ["preload_command"],
            "distributed.scheduler.preload-argv": ["x"],
        }
        async with (
            Scheduler(preload=PLAIN) as scheduler,
            Worker(scheduler.address, preload=["preload_async"]) as worker,
        ):
            assert scheduler.said == ["set up"]
            assert vars(worker)["said"] == ["set up async"]
            assert [preload.name for preload in worker.preloads] == ["preload_async"]
        assert scheduler.said == ["set up", "torn down"]
        assert vars(worker)["said"] == ["set up async", "torn down async"]
        with dask.config.set(configured):
            async with Scheduler() as scheduler, Worker(scheduler.address) as worker:
                assert scheduler.said == [("x",), 0]
                assert vars(worker)["said"] == ["set up"]
                async with Client(scheduler.address, asynchronous=True) as client:
                    assert vars(client)["said"] == ["set up async"]
                assert vars(client)["said"][-1] == "torn down async"

    live(main())


USING = """
def dask_setup(client):
    client.said = client.submit(sum, [1, 2]).result()

def dask_teardown(client):
    client.said = client.submit(sum, [3, 4]).result()
"""


def test_a_client_that_blocks() -> None:
    with (
        LocalCluster(n_workers=1, processes=False) as cluster,
        dask.config.set({"distributed.client.preload": [USING]}),
    ):
        with Client(cluster) as client:
            assert vars(client)["said"] == 3
        assert vars(client)["said"] == 7


def test_a_worker_is_set_up_before_its_first_task(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        slow = "import asyncio\nasync def dask_setup(worker):\n    await asyncio.sleep(0.05)\n    worker.ready = True"
        async with Scheduler() as scheduler, Client(scheduler.address, asynchronous=True) as client:
            future = client.submit(lambda: __import__("windrow").get_worker().ready)
            async with Worker(scheduler.address, preload=slow):
                assert await future is True

    live(main())

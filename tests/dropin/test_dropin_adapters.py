"""What stands in for the tools of ``distributed`` does what they do."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import pickle
import threading

import cloudpickle
import numpy as np
import pytest
from dask.utils import SerializableLock

import windrow.dask
from windrow import Client, LocalCluster
from windrow.dask import client as client_tools
from windrow.dask import comm, core, pickles, serialize, utils
from windrow.runtime import LoopThread


class Point:
    """A class that pickles badly, and is registered."""

    def __init__(self, x: int, data: bytes = b"") -> None:
        self.x, self.data = x, data

    def __getstate__(self) -> object:
        raise TypeError("not by pickle")


def test_a_registered_type_travels_by_its_own_functions() -> None:
    def dump(point: Point) -> tuple[dict[str, int], list[bytes]]:
        return {"x": point.x}, [point.data]

    def load(header: dict[str, int], frames: list[memoryview]) -> Point:
        return Point(header["x"], bytes(frames[0]))

    serialize.register_serialization(Point, dump, load)
    found = pickles.loads(pickles.dumps([Point(3, b"abc")]))[0]
    assert (found.x, found.data) == (3, b"abc")
    with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        moved = client.submit(lambda point: Point(point.x + 1, point.data * 2), Point(3, b"abc")).result()
    assert (moved.x, moved.data) == (4, b"abcabc")


def test_registration_by_decorator_and_lazily() -> None:
    class Cell:
        def __init__(self, x: int) -> None:
            self.x = x

    called: list[int] = []

    @serialize.dask_serialize.register(Cell)
    def dump(cell: Cell) -> tuple[dict[str, int], list[bytes]]:
        return {"x": cell.x}, []

    @serialize.dask_deserialize.register(Cell)
    def load(header: dict[str, int], frames: list[bytes]) -> Cell:
        return Cell(header["x"])

    serialize.dask_serialize.register_lazy("math", functools.partial(called.append, 1))
    assert serialize.deserialize(*serialize.serialize(Cell(5))).x == 5
    assert called == [1]
    with pytest.raises(TypeError, match="made by 'dask'"):
        serialize.deserialize(*serialize.serialize(Cell(5)), deserializers=["pickle"])
    with pytest.raises(TypeError, match="registered with none of dask"):
        serialize.serialize(object(), serializers=["dask"])


def test_frames_are_not_copied() -> None:
    data = np.arange(1000)
    header, frames = serialize.serialize({"data": data})
    assert any(np.shares_memory(np.frombuffer(frame, dtype=data.dtype), data) for frame in frames[1:])
    assert (serialize.deserialize(header, frames)["data"] == data).all()
    assert (serialize.deserialize_bytes(serialize.serialize_bytes(data)) == data).all()
    buffers: list[pickle.PickleBuffer] = []
    blob = pickles.dumps(data, buffer_callback=buffers.append)
    assert len(blob) < 1000
    assert (pickles.loads(blob, buffers=buffers) == data).all()


def test_what_cannot_be_pickled_goes_by_value() -> None:
    assert pickles.loads(pickles.dumps(lambda x: x + 1))(1) == 2


def test_addresses_are_taken_apart() -> None:
    assert comm.get_address_host_port("tls://[::1]:80") == ("::1", 80)
    assert comm.get_address_host("10.0.0.1:8786") == "10.0.0.1"
    assert comm.resolve_address("tcp://localhost:80") in {"tcp://127.0.0.1:80", "tcp://[::1]:80"}
    with pytest.raises(ValueError, match="no address with a scheme"):
        comm.parse_address("127.0.0.1:8786", strict=True)
    with pytest.raises(ValueError, match="no port"):
        comm.get_address_host_port("inproc://a/1")
    with pytest.raises(TypeError, match="an address is a str"):
        comm.parse_address(1)  # type: ignore[arg-type]


def test_a_loop_runner_uses_its_own_loop_or_the_given_one() -> None:
    async def where() -> int:
        return threading.get_ident()

    runner = utils.LoopRunner()
    runner.start()
    assert runner.is_started()
    assert runner.run_sync(where) != threading.get_ident()
    with pytest.raises(TimeoutError):
        utils.sync(runner.loop, asyncio.sleep, 60, callback_timeout="10 ms")
    runner.stop()
    assert not runner.is_started()
    thread = LoopThread()
    given = utils.LoopRunner(thread)
    given.start()
    given.stop()
    assert thread.is_running
    thread.stop()


def test_an_asynchronous_loop_runner_is_on_the_running_loop() -> None:
    async def look() -> None:
        runner = utils.LoopRunner(asynchronous=True)
        runner.start()
        assert runner.loop is asyncio.get_running_loop()
        assert runner.is_started()
        with pytest.raises(RuntimeError, match="await"):
            runner.run_sync(look)
        with pytest.raises(RuntimeError, match="own thread"):
            utils.sync(runner.loop, look)

    asyncio.run(look())


def test_a_mixin_blocks_or_returns_a_coroutine() -> None:
    class Thing(utils.SyncMethodMixin):
        def __init__(self, loop: object) -> None:
            self.loop = loop

        async def _ask(self) -> str:
            return await self.sync(self._answer)

        async def _answer(self) -> str:
            return "yes"

        def ask(self) -> object:
            return self.sync(self._ask)

    thread = LoopThread()
    assert Thing(thread.loop).ask() == "yes"
    thread.stop()


def test_errors_are_logged_and_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    @utils.log_errors
    def fails() -> None:
        raise ValueError("plain")

    @utils.log_errors
    async def fails_later() -> None:
        raise ValueError("coroutine")

    with pytest.raises(ValueError, match="plain"):
        fails()
    with pytest.raises(ValueError, match="coroutine"):
        asyncio.run(fails_later())
    with pytest.raises(ValueError, match="block"), utils.log_errors():
        raise ValueError("block")
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == ["plain", "coroutine", "block"]


def test_the_first_failure_ends_all() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(utils.All([asyncio.sleep(60), fails()]))


def test_a_long_block_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="slow thing"), utils.warn_on_duration(-1.0, "slow thing"):
        pass


def test_the_default_client_is_found_and_changed() -> None:
    assert client_tools._get_global_client() is None
    with Client(n_workers=1, processes=False, dashboard_address=None, set_as_default=False) as client:
        assert client_tools._get_global_client() is None
        with client_tools.temp_default_client(client):
            assert client_tools._get_global_client() is client
        assert client_tools._get_global_client() is None


def test_a_scheduler_is_asked_by_its_address() -> None:
    async def ask(address: str) -> tuple[object, object]:
        async with core.rpc(address) as scheduler:
            identity, cores = await scheduler.identity(), await scheduler.ncores()
        with pytest.raises(OSError, match="was closed"):
            await scheduler.identity()
        return identity["address"], sorted(cores.values())

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert asyncio.run(ask(cluster.scheduler_address)) == (cluster.scheduler_address, [1, 1])
    with pytest.raises(TypeError, match="needs the address"):
        core.rpc(None)


def test_copies_of_dasks_own_locks_are_one_object(installed: None) -> None:
    lock = SerializableLock("file")
    again = pickle.loads(pickle.dumps(lock))
    assert again is lock is pickle.loads(cloudpickle.dumps([lock]))[0]
    data = pickle.dumps(SerializableLock("other"))
    gc.collect()
    assert pickle.loads(data).token == "other"
    windrow.dask.uninstall()
    assert pickle.loads(pickle.dumps(lock)) is not lock
    assert pickle.loads(data).lock is not lock.lock


def test_messages_become_frames() -> None:
    numbers = np.arange(100_000)
    frames = serialize.dumps({"op": "put", "data": [serialize.to_serialize(numbers)]})
    assert any(np.shares_memory(np.frombuffer(frame, np.int64), numbers) for frame in frames[1:] if len(frame) > 1000)
    got = serialize.loads(frames)
    assert got["op"] == "put"
    assert (got["data"][0] == numbers).all()
    assert type(serialize.loads(frames, deserialize=False)["data"][0]) is serialize.Serialize
    with pytest.raises(TypeError, match="only dask may be used"):
        serialize.loads(frames, deserializers=["dask"])

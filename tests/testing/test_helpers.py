"""What other libraries' test suites are given."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path

import dask
import pytest

from windrow import Client, Nanny
from windrow.testing import helpers
from windrow.testing.fixtures import (  # noqa: F401
    a,
    b,
    cleanup,
    client,
    cluster_fixture,
    loop,
    loop_in_thread,
    s,
)
from windrow.testing.helpers import gen_cluster, gen_test, inc
from windrow.testing.trust import gen_tls_cluster, tls_only_security


@pytest.fixture(autouse=True)
def runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@gen_cluster(client=True)
async def test_a_test_is_given_client_scheduler_and_two_workers(c, s, a, b):  # type: ignore[no-untyped-def]  # noqa: F811
    assert await c.submit(inc, 1) == 2
    assert [a.nthreads, b.nthreads] == [1, 2]
    assert set(s.workers) == {a.address, b.address}


@gen_cluster(nthreads=[("127.0.0.1", 3)], config={"some.key": 1}, worker_kwargs={"resources": {"GPU": 1}})
async def test_workers_and_settings_are_as_asked(s, a):  # type: ignore[no-untyped-def]  # noqa: F811
    assert a.nthreads == 3
    assert dask.config.get("some.key") == 1
    assert s.workers[a.address].resources == {"GPU": 1}


@gen_cluster(client=True, nthreads=[("127.0.0.1", 1)], Worker=Nanny)
async def test_nannies_have_workers_in_processes(c, s, a):  # type: ignore[no-untyped-def]  # noqa: F811
    assert await c.submit(lambda: __import__("os").getpid()) == a.pid


@gen_tls_cluster(client=True)
async def test_connections_are_encrypted_where_that_is_asked_for(c, s, a, b):  # type: ignore[no-untyped-def]  # noqa: F811
    assert [each.address.partition(":")[0] for each in (s, a, b)] == ["tls"] * 3
    assert await c.submit(inc, 1) == 2


@gen_cluster(client=True, security=tls_only_security(), nthreads=[("127.0.0.1", 1)], Worker=Nanny)
async def test_nannies_and_their_workers_have_certificates_too(c, s, a):  # type: ignore[no-untyped-def]  # noqa: F811
    assert s.address.startswith("tls://")
    assert await c.submit(inc, 1) == 2


@pytest.mark.parametrize("x", [1, 2])
@gen_cluster(client=True, nthreads=[])
async def test_arguments_of_pytest_come_after(c, s, x, tmp_path):  # type: ignore[no-untyped-def]  # noqa: F811
    assert x in {1, 2}
    assert tmp_path.exists()


@gen_test()
async def test_a_coroutine_function_is_a_test() -> None:
    assert await helpers.asyncinc(1, delay=0) == 2


def test_a_test_that_takes_too_long_fails() -> None:
    @gen_test(timeout=0.05)
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        forever()


def test_what_is_no_coroutine_function_is_refused() -> None:
    with pytest.raises(TypeError, match="async def double"):
        gen_cluster()(helpers.double)
    with pytest.raises(TypeError, match="given 3 arguments"):

        @gen_cluster()
        async def few(s) -> None: ...  # type: ignore[no-untyped-def]


def test_fixtures_give_a_client_of_two_processes(client: Client, s, a, b) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert client.submit(inc, 1).result() == 2
    assert set(client.scheduler_info()["workers"]) == {a["address"], b["address"]}
    assert client.scheduler.address == s["address"]


def test_a_varying_function_goes_through_its_items(loop) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    function = helpers.varying([1, ZeroDivisionError("second"), 3])
    assert function() == 1
    with pytest.raises(ZeroDivisionError, match="second"):
        function()
    assert function() == 3
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:  # noqa: F811
        futures = client.map(*helpers.map_varying([[ValueError("once"), 1], [2]]), retries=1)
        assert client.gather(futures) == [1, 2]


def test_logs_are_caught_and_handlers_put_back() -> None:
    logger = logging.getLogger("windrow.test.caught")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    with helpers.captured_logger(logger, level=logging.DEBUG) as caught:
        logger.debug("it was so")
    assert caught.getvalue() == "it was so\n"
    assert logger.handlers == [handler]


def test_a_program_ends_with_its_block() -> None:
    program = "import signal, sys; print('up', flush=True); signal.pause()"
    with helpers.popen([sys.executable, "-c", program], capture_output=True, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
    assert process.returncode not in {None, 0}


def test_a_loop_runs_in_a_thread(loop_in_thread) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert loop_in_thread.run(asyncio.sleep(0, threading.get_ident())) == threading.get_ident()


def test_something_is_polled_for() -> None:
    asked = iter([False, False, True])
    helpers.poll_for(lambda: next(asked), timeout=5, period=0)
    with pytest.raises(AssertionError, match="does not hold after"):
        helpers.poll_for(lambda: False, timeout=0, period=0)

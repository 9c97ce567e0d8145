"""`Client.get_executor`: the contract of concurrent.futures, and re-running tasks here."""

from __future__ import annotations

import concurrent.futures
import operator
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import process_tasks as tasks
import pytest
from process_help import until

from windrow import Client
from windrow.client.executor import ClientExecutor


@pytest.fixture
def executor(client: Client) -> Iterator[ClientExecutor]:
    with client.get_executor() as executor:
        yield executor


def test_submit_gives_futures_of_the_standard_library(executor: ClientExecutor) -> None:
    assert isinstance(executor, concurrent.futures.Executor)
    future = executor.submit(int, "11", base=2)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=10) == 3
    assert future.done()
    assert not future.cancelled()
    assert not future.cancel()


def test_keyword_arguments_with_the_names_of_options_are_the_function_s_own(executor: ClientExecutor) -> None:
    assert executor.submit(dict, key=1, workers=2, fn=3).result(timeout=10) == {"key": 1, "workers": 2, "fn": 3}


def test_an_exception_is_the_task_s_own(executor: ClientExecutor) -> None:
    future = executor.submit(operator.truediv, 1, 0)
    assert isinstance(future.exception(timeout=10), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        future.result()


def test_equal_calls_are_made_each(executor: ClientExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    concurrent.futures.wait([executor.submit(tasks.note, str(log), "x") for _ in range(3)])
    assert len(log.read_text().split()) == 3


def test_waiting_for_several(executor: ClientExecutor) -> None:
    futures = [executor.submit(operator.neg, i) for i in range(10)]
    assert sorted(future.result() for future in concurrent.futures.as_completed(futures, timeout=10)) == list(
        range(-9, 1)
    )
    assert concurrent.futures.wait(futures, timeout=10).not_done == set()


def test_callbacks(executor: ClientExecutor) -> None:
    called = threading.Event()
    executor.submit(operator.neg, 1).add_done_callback(lambda future: called.set())
    assert called.wait(10)


def test_map_keeps_the_order(executor: ClientExecutor) -> None:
    assert list(executor.map(operator.add, iter([1, 2, 3]), [10, 20, 30, 40])) == [11, 22, 33]
    assert list(executor.map(operator.neg, [], chunksize=5)) == []


def test_map_raises_where_the_result_would_be(executor: ClientExecutor) -> None:
    results = executor.map(operator.truediv, [4, 1], [2, 0])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_with_a_timeout_is_late_and_cancels_the_rest(client: Client, executor: ClientExecutor) -> None:
    results = executor.map(time.sleep, [0.5] * 4, timeout=0.05)
    with pytest.raises(TimeoutError):
        list(results)
    until(lambda: not client.futures, "the rest is cancelled")


def test_a_map_that_is_given_up_cancels_the_rest(client: Client, executor: ClientExecutor) -> None:
    results = executor.map(time.sleep, [0, 0.3, 0.3, 0.3, 0.3])
    next(results)
    results.close()  # type: ignore[attr-defined]
    until(lambda: not client.futures, "the rest is cancelled")


def test_map_refuses_other_keywords(executor: ClientExecutor) -> None:
    with pytest.raises(TypeError, match="retries"):
        executor.map(abs, [1], retries=1)


def test_cancel(client: Client, executor: ClientExecutor) -> None:
    future = executor.submit(time.sleep, 0.5)
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    assert concurrent.futures.wait([future], timeout=1).done == {future}


def test_shutdown_waits_and_takes_no_more(client: Client) -> None:
    executor = client.get_executor()
    future = executor.submit(time.sleep, 0.2)
    executor.shutdown()
    assert future.done()
    for refused in (lambda: executor.submit(abs, 1), lambda: executor.map(abs, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            refused()


def test_shutdown_without_waiting_cancels(client: Client) -> None:
    executor = client.get_executor()
    future = executor.submit(time.sleep, 0.5)
    executor.shutdown(wait=False)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(timeout=10)


def test_options_of_all_calls(client: Client, tmp_path: Path) -> None:
    with client.get_executor(workers=[1], retries=2) as executor:
        pids = {executor.submit(os.getpid).result() for _ in range(3)}
        assert pids == set(client.run(os.getpid, workers=[1]).values())
        assert executor.submit(tasks.fail_until, str(tmp_path / "count"), 2).result() is not None


def test_unknown_options_are_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="priority"):
        client.get_executor(priority=1)


# ---------------------------------------------------------------- recreate


def test_a_task_can_be_run_again_here(client: Client) -> None:
    one = client.submit(tasks.inc, 1)
    two = client.submit(operator.add, one, [one][0])
    assert client.recreate_task_locally(two) == 4
    assert client.recreate_task_locally(two.key) == 4
    assert client.recreate_task_locally(client.submit(os.getpid)) == os.getpid()


def test_an_error_can_be_raised_again_here_from_its_root(client: Client) -> None:
    bad = client.submit(operator.truediv, client.submit(tasks.inc, 1), 0)
    after = client.submit(tasks.inc, bad)
    with pytest.raises(ZeroDivisionError) as caught:
        client.recreate_error_locally(after)
    assert "operator" not in str(caught.value)


def test_what_cannot_be_recreated(client: Client) -> None:
    with pytest.raises(ValueError, match="no error"):
        client.recreate_error_locally(client.submit(tasks.inc, 1))
    with pytest.raises(ValueError, match="not known"):
        client.recreate_task_locally("nobody")
    scattered = client.scatter(5)
    with pytest.raises(ValueError, match="not known to the scheduler as a task"):
        client.recreate_task_locally(scattered)

"""What goes wrong in a task, or on the way to it, as its user sees it."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import process_tasks as tasks
import pytest
from process_help import run_python

from windrow import Client, PickleError, as_completed, wait
from windrow.errors import TaskError


def frames(error: BaseException) -> list[str]:
    """Names of the functions in a traceback, outermost first."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


class Local(Exception):
    """Defined in a test module, which workers can import too."""


# ---------------------------------------------------------------- what a task raises


def test_an_error_keeps_its_type_and_facts(client: Client) -> None:
    future = client.submit(tasks.fail, 7)
    with pytest.raises(tasks.Oops) as caught:
        future.result()
    assert (caught.value.number, caught.value.why) == (7, "deeper down")
    assert future.status == "error"
    assert future.done()
    error = future.exception()
    assert type(error) is tasks.Oops


def test_the_remote_traceback(client: Client) -> None:
    future = client.submit(tasks.fail, 7)
    with pytest.raises(tasks.Oops) as caught:
        future.result()
    names = frames(caught.value)
    assert names[-2:] == ["fail", "_deeper"]
    assert not [name for name in names if name in ("_run", "_serve")]  # the worker's own frames
    remote = traceback.extract_tb(future.traceback())
    assert [frame.name for frame in remote] == ["fail", "_deeper"]
    assert remote[-1].line == 'raise Oops(x, why="deeper down")'
    assert "process_tasks.py" in remote[-1].filename


def test_an_error_is_fresh_each_time(client: Client) -> None:
    future = client.submit(tasks.fail, 7)
    lengths = []
    for _ in range(3):
        with pytest.raises(tasks.Oops) as caught:
            future.result()
        lengths.append(len(frames(caught.value)))
    assert lengths[0] == lengths[1] == lengths[2]
    assert future.exception().number == 7


def test_cause_and_context_come_along(client: Client) -> None:
    error = client.submit(tasks.fail_with_cause, "on top").exception()
    assert repr(error) == "ValueError('on top')"
    assert repr(error.__cause__) == "KeyError('key')"
    assert frames(error.__cause__) == ["fail_with_cause"]

    def in_handler() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904

    error = client.submit(in_handler).exception()
    assert error.__cause__ is None
    assert repr(error.__context__) == "KeyError('first')"


@pytest.mark.parametrize("kind", [ZeroDivisionError, Local, AssertionError, MemoryError, TimeoutError, OSError])
def test_types_of_errors(client: Client, kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind("words")

    future = client.submit(fail)
    with pytest.raises(kind, match="words"):
        future.result()
    with pytest.raises(kind, match="words"):
        client.gather([future])
    assert type(future.exception()) is kind


def test_stop_iteration(client: Client) -> None:
    """It means something to generators, through which results come."""

    def fail() -> None:
        raise StopIteration("words")

    future = client.submit(fail)
    assert type(future.exception()) is StopIteration
    with pytest.raises(StopIteration, match="words"):
        future.result()
    with pytest.raises(StopIteration, match="words"):
        client.gather([future])


def test_groups_and_notes(client: Client) -> None:
    def fail() -> None:
        inner = ValueError("inner")
        inner.add_note("a note")
        raise ExceptionGroup("both", [inner, tasks.Oops(1)])

    error = client.submit(fail).exception()
    assert type(error) is ExceptionGroup
    assert [type(inner) for inner in error.exceptions] == [ValueError, tasks.Oops]
    assert error.exceptions[0].__notes__ == ["a note"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_that_wants_to_end_python(client: Client, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind(3)

    with pytest.raises(TaskError, match=rf"raised {kind.__name__}\(3\)"):
        client.submit(leave).result()
    assert client.gather(client.map(tasks.inc, [1, 2, 3, 4])) == [2, 3, 4, 5]


def test_dependents_err_with_the_same_cause(client: Client) -> None:
    root = client.submit(tasks.fail, 1)
    middle = client.map(tasks.inc, [root] * 2)
    end = client.submit(sum, [*middle, client.submit(tasks.inc, 1)])
    with pytest.raises(tasks.Oops) as caught:
        end.result(timeout=5)
    assert caught.value.number == 1
    assert frames(caught.value)[-1] == "_deeper"
    late = client.submit(tasks.inc, end)  # after the error
    assert type(late.exception(timeout=5)) is tasks.Oops
    assert {future.status for future in (root, *middle, end, late)} == {"error"}


def test_errors_in_as_completed_and_wait(client: Client) -> None:
    good, bad = client.submit(tasks.inc, 1), client.submit(tasks.fail, 2)
    assert len(wait([good, bad]).done) == 2
    with pytest.raises(tasks.Oops):
        dict(as_completed([bad], with_results=True))
    found = dict(as_completed([good, bad], with_results=True, raise_errors=False))
    assert found[good] == 2
    kind, error, remote = found[bad]
    assert (kind, error.number) == (tasks.Oops, 2)
    assert remote is not None


# ---------------------------------------------------------------- what cannot be pickled


def test_an_exception_that_cannot_be_pickled(client: Client) -> None:
    def fail() -> None:
        raise tasks.SealedError("the message")

    error = client.submit(fail).exception()
    assert type(error) is PickleError
    assert "SealedError" in str(error)
    assert "the message" in str(error)
    assert "frame" in str(error)
    assert frames(error)[-1] == "fail"


def test_an_exception_that_cannot_be_unpickled(client: Client) -> None:
    class Picky(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("three")

    def fail() -> None:
        raise Picky(1, 2)

    error = client.submit(fail).exception()
    assert type(error) is PickleError
    assert "Picky" in str(error)
    assert "three" in str(error)


def test_an_exception_with_a_faulty_str(client: Client) -> None:
    class Mute(Exception):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __str__(self) -> str:
            raise ValueError("no words")

    def fail() -> None:
        raise Mute

    error = client.submit(fail).exception()
    assert "Mute" in str(error)


def test_a_result_that_cannot_be_pickled(client: Client) -> None:
    future = client.submit(tasks.Sealed)
    with pytest.raises(PickleError, match=r"result.*door\['handle'\]: frame"):
        future.result(timeout=5)
    with pytest.raises(PickleError, match="handle"):
        future.result(timeout=5)
    # Where it was made it is good to use.
    assert client.submit(lambda sealed: sorted(sealed.door), future).result(timeout=5) == ["handle"]


def test_a_result_that_cannot_be_pickled_is_needed_elsewhere(client: Client) -> None:
    future = client.submit(tasks.Sealed, workers=[0])
    elsewhere = client.submit(lambda sealed: sorted(sealed.door), future, workers=[1])
    with pytest.raises(PickleError, match="handle"):
        elsewhere.result(timeout=5)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (lambda: ((threading.Lock(),), {}), r"args\[0\]: _thread.lock"),
        (lambda: ((1, {"a": [threading.Lock()]}), {}), r"args\[1\]\['a'\]\[0\]: _thread.lock"),
        (lambda: ((), {"by": (x for x in [])}), r"kwargs\['by'\]: generator"),
        (lambda: ((tasks.Sealed(),), {}), r"args\[0\]\.door\['handle'\]: frame"),
    ],
)
def test_an_argument_that_cannot_be_pickled(client: Client, arguments: Any, culprit: str) -> None:
    args, kwargs = arguments()
    with pytest.raises(PickleError, match=culprit) as caught:
        client.submit(tasks.inc, *args, **kwargs)
    assert "inc" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    with pytest.raises(PickleError, match=r"lock.*"):
        client.map(tasks.inc, [1, 2, threading.Lock()])
    assert client.submit(tasks.inc, 1).result() == 2


def test_a_function_that_cannot_be_pickled(client: Client) -> None:
    lock = threading.Lock()

    def locked() -> None:
        lock.acquire()

    with pytest.raises(PickleError, match=r"locked.*lock"):
        client.submit(locked)


def test_an_argument_that_cannot_be_unpickled(client: Client) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return tasks.fail, (5,)

    error = client.submit(tasks.identity, Trap()).exception(timeout=5)
    assert type(error) is tasks.Oops


def test_a_module_that_workers_do_not_have(client: Client) -> None:
    source = (
        "import sys, types\nfrom windrow import Client\n"
        "only_here = types.ModuleType('only_here'); sys.modules['only_here'] = only_here\n"
        "exec('def f(x): return x', only_here.__dict__)\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "try: client.submit(only_here.f, 1).result(timeout=5)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    out, _ = run_python("-c", source)
    assert "'f' cannot be loaded on this worker: ModuleNotFoundError: No module named 'only_here'" in out
    assert "where the workers run" in out


def test_errors_of_a_class_of_the_script(client: Client) -> None:
    source = (
        "from windrow import Client\n"
        "class Mine(Exception):\n    def __init__(self, a, b): super().__init__(a, b); self.b = b\n"
        "def fail(): raise Mine(1, {'deep': [2]})\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "future = client.submit(fail)\n"
        "try: client.submit(abs, future).result()\n"
        "except Mine as error: print(error.b, error.__traceback__.tb_next is not None)\n"
        "print(type(future.exception()) is Mine)"
    )
    assert run_python("-c", source) == ("{'deep': [2]} True\nTrue\n", "")

"""Progress of real work: futures, what they are made of, errors; in tasks, side by side, and under Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from typing import Any

import process_tasks as tasks
import pytest
from process_help import environment, until

import windrow
from windrow import Client, LocalCluster, progress
from windrow.client.progress import NotebookProgress, watch
from windrow.client.tally import Picture
from windrow.client.waiting import block

END = re.compile(r"progress: 100 %, (.*); in [\d.]+ s(, [\d.,]+/\w+)?\n")


class Frames:
    """A display that keeps what it is shown."""

    interval_s = 0.01

    def __init__(self) -> None:
        self.pictures: list[Picture] = []
        self.last: Picture | None = None
        self.closed = 0

    def show(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def end(self, picture: Picture) -> None:
        self.last = picture

    def close(self) -> None:
        self.closed += 1

    def rows(self) -> dict[str, tuple[int, ...]]:
        assert self.last is not None
        return {row.name: row[1:6] for row in self.last.rows}


def watched(client: Client, futures: list[Any], group: Any = None, frames: Frames | None = None) -> Frames:
    frames = frames or Frames()
    block(watch(client.session, futures, group, True, frames), 30.0, "the display")
    assert frames.closed == 1
    return frames


def wait_for(name: str, x: Any) -> Any:
    windrow.Event(name).wait()
    return x


def test_a_log_says_how_it_ended(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    futures = client.map(tasks.tiny, range(100))
    assert progress(futures) is None
    said = capsys.readouterr().err
    match = END.fullmatch(said)
    assert match is not None, said
    assert match[1] == "100 of 100"


def test_inputs_are_shown_by_prefix_as_they_are_done(client: Client) -> None:
    loaded = client.map(tasks.tiny, range(10), key="load")
    waited = client.map(lambda x, name: wait_for(name, x), loaded, name="hold", key="hold")
    total = client.submit(sum, waited, key="total")
    del loaded, waited
    frames = Frames()
    thread = threading.Thread(target=watched, args=(client, [total]), kwargs={"frames": frames})
    thread.start()
    expected = {"load": 10, "hold": 0, "total": 0}
    until(
        lambda: frames.pictures and {row.name: row.done for row in frames.pictures[-1].rows} == expected,
        "the scheduler says what is done",
    )
    assert {row.name: row.total for row in frames.pictures[-1].rows} == {"load": 10, "hold": 10, "total": 1}
    windrow.Event("hold", client=client).set()
    thread.join(20)
    assert frames.rows() == {"load": (10, 0, 0, 0, 0), "hold": (10, 0, 0, 0, 0), "total": (1, 0, 0, 0, 0)}
    windrow.Event("hold", client=client).clear()


def test_a_collection_of_dask_shows_its_layers(client: Client) -> None:
    da = pytest.importorskip("dask.array")
    persisted = (da.ones((40, 40), chunks=10) + 1).sum().persist()
    frames = watched(client, windrow.futures_of(persisted))
    assert frames.last is not None
    assert frames.last.whole.ended == frames.last.whole.total >= 1


def refuse(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(f"not {x}")
    return x


def test_errors_are_shown_with_the_first_ones_words(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    futures = client.map(refuse, range(9))
    progress(futures)
    said = capsys.readouterr().err.splitlines()
    assert "9 of 9, 3 failed" in said[0]
    assert said[1] == "refuse: 3 failed, the first with ValueError: not 0"
    assert client.gather(futures, errors="skip") == [1, 2, 4, 5, 7, 8]


def test_errors_of_inputs_are_shown_too(client: Client) -> None:
    bad = client.submit(refuse, 3, key="bad")
    after = client.submit(tasks.tiny, bad, key="after")
    frames = watched(client, [after])
    assert frames.rows() == {"bad": (0, 1, 0, 0, 0), "after": (0, 1, 0, 0, 0)}


def test_groups_may_be_named_by_a_function(client: Client) -> None:
    loaded = client.map(tasks.tiny, range(10), key=[("x", number) for number in range(10)])
    held = client.submit(lambda values: wait_for("named", len(values)), loaded, key=("y", 0))
    del loaded
    frames = Frames()
    group = lambda key: "even" if key[1] % 2 == 0 else "odd"  # noqa: E731
    thread = threading.Thread(target=watched, args=(client, [held], group, frames))
    thread.start()
    until(lambda: frames.pictures and {row.name for row in frames.pictures[-1].rows} == {"even", "odd"})
    windrow.Event("named", client=client).set()
    thread.join(20)
    assert {name: sum(row) for name, row in frames.rows().items()} == {"even": 6, "odd": 5}
    windrow.Event("named", client=client).clear()


@pytest.mark.parametrize(
    ("group_by", "error"), [("suffix", ValueError), (3, ValueError), ("spans", NotImplementedError)]
)
def test_other_groups_are_refused(group_by: Any, error: type[Exception], client: Client) -> None:
    with pytest.raises(error, match="'prefix'"):
        progress(client.submit(tasks.tiny, 1), group_by=group_by)


def test_arguments_of_the_other_kind_are_taken_and_wrong_ones_refused(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    future = client.submit(tasks.tiny, 1)
    progress(future, [future], {"a": future}, interval="10ms", width=10, loop=None, start=True)
    assert "1 of 1" in capsys.readouterr().err, "each counts once"
    with pytest.raises(ValueError, match="width must be a number of characters above 0, not 'a'"):
        progress(future, width="a")
    with pytest.raises(TypeError, match="holds an int: 1"):
        progress([1, 2])
    with pytest.raises(TypeError, match=r"what progress shows must be a future.* and is an int: 3"):
        progress(3)
    dask = pytest.importorskip("dask")
    with pytest.raises(TypeError, match="this Delayed is not: persist or compute it first"):
        progress(dask.delayed(tasks.tiny)(1))
    progress()
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError, match="colour"):
        progress(future, colour="red")


def test_cancelled_futures_end_it(client: Client) -> None:
    held = client.submit(wait_for, "never", 1, pure=False)
    frames = Frames()
    thread = threading.Thread(target=watched, args=(client, [held]), kwargs={"frames": frames})
    thread.start()
    until(lambda: frames.pictures)
    held.cancel()
    thread.join(20)
    assert frames.rows() == {"wait_for": (0, 0, 0, 0, 1)}
    windrow.Event("never", client=client).set()


def show_inside(count: int) -> int:
    client = windrow.get_client()
    futures = client.map(tasks.tiny, range(count))
    windrow.progress(futures)
    return sum(client.gather(futures))


def test_it_works_inside_tasks_on_all_threads_at_once(client: Client) -> None:
    futures = client.map(show_inside, [50, 51, 52, 53])
    assert client.gather(futures) == [sum(range(1, count + 1)) for count in (50, 51, 52, 53)]
    for count, future in zip((50, 51, 52, 53), futures, strict=True):
        [line] = client.get_task_logs(future)[future.key]
        assert line.text.startswith(f"progress: 100 %, {count} of {count}")


def test_an_asynchronous_client_awaits_it(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Client(cluster, asynchronous=True) as client:
            await progress(client.map(tasks.tiny, range(20)))

    asyncio.run(main())
    assert "20 of 20" in capsys.readouterr().err


def test_a_notebook_gets_an_object_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    texts: list[str] = []

    class Handle:
        def update(self, thing: Any) -> None:
            texts.append(thing.data)

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr("IPython.display.display", lambda thing, display_id: Handle())
    held = client.submit(wait_for, "cell", 1, pure=False)
    shown = progress(held, notebook=True)
    assert isinstance(shown, NotebookProgress)
    shown._ipython_display_()
    until(lambda: texts)
    assert "0 of 1" in texts[-1]
    windrow.Event("cell", client=client).set()
    shown.join(20)
    assert "1 of 1" in texts[-1]
    windrow.Event("cell", client=client).clear()


def test_what_is_done_is_shown_by_books_and_asks_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    futures = client.map(wait_for, ["books"] * 3, range(3))
    asked: list[Any] = []
    ask = client.session.ask
    monkeypatch.setattr(client.session, "ask", lambda request: (asked.append(request), ask(request))[1])
    frames = Frames()
    thread = threading.Thread(target=watched, args=(client, futures), kwargs={"frames": frames})
    thread.start()
    until(lambda: len(frames.pictures) > 100)
    names = [type(request.request).__name__ for request in asked]
    windrow.Event("books", client=client).set()
    thread.join(20)
    assert names == ["Follow", "Leave"], "nothing leads there, so that one question was enough"
    windrow.Event("books", client=client).clear()


# ---------------------------------------------------------------- terminals

SCRIPT = """
import sys, windrow

def hold(x):
    windrow.Event("go").wait()
    return x

with windrow.Client(n_workers=1, threads_per_worker=2) as client:
    futures = client.map(hold, range(2), key="hold")
    try:
        windrow.progress(futures)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    windrow.Event("go").set()
    windrow.progress(futures)
    print(client.gather(futures), flush=True)
"""


@pytest.mark.skipif(not hasattr(pty, "openpty"), reason="there are no terminals here")
def test_ctrl_c_ends_the_display_and_leaves_the_tasks_alone() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
        env=environment(TERM="xterm", COLUMNS="100"),
    )
    os.close(theirs)
    seen = io.BytesIO()
    shown = threading.Event()

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                return
            seen.write(part)
            if b"0 of 2" in seen.getvalue():
                shown.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert shown.wait(20), seen.getvalue()
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        reader.join(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    screen = seen.getvalue().decode()
    assert out == "interrupted\n[0, 1]\n", screen
    assert "hold" in screen
    assert "2 of 2" in screen
    assert "Traceback" not in screen
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h"), "the cursor is there again"

"""What a cluster did, as its client tells it: task stream, profiles, reports, memory."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from process_help import until

from windrow import Client, LocalCluster, MemorySampler, get_task_stream, performance_report
from windrow.drawing import figures


def twice(x: int) -> int:
    return 2 * x


def broken(x: int) -> int:
    raise LookupError(x)


def spin(seconds: float) -> float:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(100))
    return seconds


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


async def nap_on_loop(seconds: float) -> float:
    import asyncio

    await asyncio.sleep(seconds)
    return seconds


@pytest.fixture
def two(client: Client) -> list[str]:
    """The addresses of the two workers."""
    return list(client.scheduler_info()["workers"])


def test_a_block_of_code_has_a_record_of_each_of_its_attempts(client: Client, two: list[str]) -> None:
    client.gather(client.map(twice, range(5)))
    begun = time.time()
    with get_task_stream(client) as told:
        futures = client.map(twice, range(100, 150))
        client.gather(futures)
        bad = client.submit(broken, 1)
        with pytest.raises(LookupError):
            bad.result()
    ended = time.time()
    client.gather(client.map(twice, range(200, 205)))
    assert sorted(record["key"] for record in told.data) == sorted(future.key for future in [*futures, bad])
    assert {record["worker"] for record in told.data} <= set(two)
    by_key = {record["key"]: record for record in told.data}
    assert by_key[bad.key]["status"] == "error"
    assert by_key[bad.key]["typename"] == "LookupError"
    record = by_key[futures[0].key]
    assert (record["status"], record["typename"], record["nbytes"]) == ("OK", "int", 28)
    for record in told.data:
        span = record["startstops"][-1]
        assert span["action"] == "compute"
        assert begun - 0.1 <= span["start"] <= span["stop"] <= ended + 0.1
    assert told.figure is None


def test_transfers_are_told_with_the_attempt_that_waited_for_them(client: Client, two: list[str]) -> None:
    with get_task_stream(client) as told:
        large = client.submit(bytes, 500_000, workers=[two[0]], key="large-1")
        assert client.submit(len, large, workers=[two[1]], key="len-1").result() == 500_000
    record = next(record for record in told.data if record["key"] == "len-1")
    transfer = next(span for span in record["startstops"] if span["action"] == "transfer")
    assert transfer["source"] == two[0]
    assert transfer["nbytes"] >= 500_000
    assert transfer["stop"] <= record["startstops"][-1]["stop"]


def test_coroutines_are_told_as_on_the_loop(client: Client) -> None:
    with get_task_stream(client) as told:
        client.submit(nap_on_loop, 0.02).result()
    [record] = told.data
    span = record["startstops"][-1]
    assert record["thread"] == 0
    assert span["stop"] - span["start"] >= 0.02


def _notes(dask_worker: Any) -> bool:
    return dask_worker.core.notes is not None


def test_nothing_is_noted_before_somebody_asks_nor_after_the_block(client: Client) -> None:
    assert not any(client.run(_notes).values())
    with get_task_stream(client):
        client.submit(twice, 1).result()
        assert all(client.run(_notes).values())
    until(lambda: not any(client.run(_notes).values()), "workers note nothing any more")


def test_the_stream_of_a_client_begins_with_its_first_question(own_client: Client, tmp_path: Path) -> None:
    client = own_client
    client.submit(twice, 1).result()
    assert client.get_task_stream() == []
    first = client.submit(twice, 2)
    first.result()
    middle = time.time()
    last = client.submit(nap, 0.01)
    last.result()
    assert [record["key"] for record in client.get_task_stream()] == [first.key, last.key]
    assert [record["key"] for record in client.get_task_stream(count=1)] == [last.key]
    assert [record["key"] for record in client.get_task_stream(start=middle)] == [last.key]
    assert [record["key"] for record in client.get_task_stream(stop=middle)] == [first.key]
    assert len(client.get_task_stream(start="1 hour", count=7)) == 2
    assert client.get_task_stream(count=0) == []
    for wrong in (-1, True, 1.5):
        with pytest.raises(ValueError, match="count must be"):
            client.get_task_stream(count=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="plot must be"):
        client.get_task_stream(plot="yes")
    records, figure = client.get_task_stream(plot="save", filename=tmp_path / "stream.html")
    assert len(records) == 2
    assert figure.title.text == "Task Stream"
    assert "Bokeh" in (tmp_path / "stream.html").read_text()


def _stream(count: int | None, dask_scheduler: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = dask_scheduler.get_task_stream(count=count)
    return told


def test_code_in_the_scheduler_has_the_stream_too() -> None:
    with Client(n_workers=1, processes=False, dashboard_address=None, set_as_default=False) as client:
        assert client.run_on_scheduler(_stream, None) == []
        futures = client.map(twice, range(500, 510))
        client.gather(futures)
        told = client.run_on_scheduler(_stream, None)
        assert {record["key"] for record in told} == {future.key for future in futures}
        assert client.run_on_scheduler(_stream, 3) == told[-3:]


def test_a_plot_without_bokeh_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "is_there", lambda: False)
    for ask in (
        lambda: client.get_task_stream(plot=True),
        lambda: client.profile(plot=True),
        lambda: get_task_stream(client, plot=True),
    ):
        with pytest.raises(ImportError, match=r"pip install 'windrow\[dashboard\]'"):
            ask()


# ---------------------------------------------------------------- profiles


def _functions(profile: dict[str, Any]) -> set[str]:
    found = {profile["description"]["name"]}
    for child in profile["children"].values():
        found |= _functions(child)
    return found


def test_a_profile_shows_where_tasks_spend_their_time(client: Client, two: list[str], tmp_path: Path) -> None:
    begun = time.time()
    client.gather(client.map(spin, [0.3] * 2, pure=False) + client.map(nap, [0.3] * 2, pure=False))
    profile = client.profile(start=begun)
    assert {"spin", "nap"} <= _functions(profile)
    assert profile["count"] == sum(child["count"] for child in profile["children"].values())
    of_spin = client.profile("spin", start=begun)
    assert "nap" not in _functions(of_spin)
    [child] = [each for each in of_spin["children"].values() if each["description"]["name"] == "spin"]
    assert child["description"]["filename"].endswith(("process_recorded.py", "<dynamic-code>"))
    assert 3 <= of_spin["count"] < profile["count"]
    assert client.profile("no such", start=begun)["count"] == 0
    assert client.profile(start=time.time() + 3600)["count"] == 0
    by_worker = client.profile(start=begun, merge_workers=False)
    assert set(by_worker) == set(two)
    assert sum(each["count"] for each in by_worker.values()) == profile["count"]
    assert client.profile(start=begun, workers=[two[0]])["count"] == by_worker[two[0]]["count"]
    state, figure = client.profile(start=begun, plot=True, filename=tmp_path / "profile.html")
    assert state["count"] == profile["count"]
    assert figure.title.text == "Profile"
    assert "spin" in (tmp_path / "profile.html").read_text()
    with pytest.raises(ValueError, match="there is no 'nobody'"):
        client.profile(workers=["nobody"])
    with pytest.raises(ValueError, match="one figure"):
        client.profile(plot=True, merge_workers=False)


def test_event_loops_have_profiles_too(client: Client) -> None:
    client.profile(scheduler=True)  # from here on

    def seen(**which: bool) -> bool:
        client.gather(client.map(twice, range(3000), pure=False))
        return bool(client.profile(**which)["count"] > 0)

    until(lambda: seen(scheduler=True), "a sample of the scheduler's loop")
    until(lambda: seen(server=True), "a sample of a worker's loop")


# ---------------------------------------------------------------- reports


def test_a_report_is_one_file_that_needs_nothing_else(client: Client, two: list[str], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with performance_report(path):
        client.gather(client.map(twice, range(20)))
        large = client.submit(bytes, 500_000, workers=[two[0]])
        client.submit(len, large, workers=[two[1]]).result()
        client.submit(spin, 0.1).result()
        client.submit(broken, "</script>").exception()
    text = path.read_text()
    assert "<td>24, of which 1 raised</td>" in text
    assert "with performance_report(path):" in text  # the program's own text
    for name in ("Task Stream", "Worker Profile (compute)", "Bandwidth", "System", "Scheduler Logs"):
        assert f">{name}</h2>" in text
    assert f"<td>{two[0]}</td><td>{two[1]}</td><td class=number>1</td>" in text  # the transfer
    assert not re.findall(r"<script[^>]*\ssrc=|<link\s", text)
    assert text.rindex("</script>") == len(text) - len("</script></body></html>\n")
    until(lambda: not any(client.run(_notes).values()), "workers note nothing any more")


def test_a_report_without_bokeh_has_pictures(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "is_there", lambda: False)
    with performance_report(tmp_path / "report.html"):
        client.gather(client.map(twice, range(20)))
    text = (tmp_path / "report.html").read_text()
    assert text.count("<title>twice: ") == 20
    assert "<script" not in text


def test_a_report_shows_who_calls_and_is_written_when_the_block_fails(client: Client, tmp_path: Path) -> None:
    def helper() -> performance_report:
        return performance_report(tmp_path / "report.html", stacklevel=2)

    def run() -> None:
        with helper():
            client.submit(twice, 3).result()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run()
    assert "pytest.raises(KeyError" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="mode must be"):
        performance_report(mode="relative")


def test_all_of_it_in_coroutines(cluster: LocalCluster, tmp_path: Path) -> None:
    import asyncio

    async def main() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True) as client:
            sampler = MemorySampler()
            async with (
                sampler.sample("run", client=client, interval=0.01),
                get_task_stream(client) as told,
                performance_report(tmp_path / "report.html"),
            ):
                await client.submit(spin, 0.1)
            assert [record["typename"] for record in told.data] == ["float"]
            assert len(sampler.samples["run"]) > 2
            assert (await client.profile("spin"))["count"] > 0
            assert await client.get_task_stream(count=0) == []

    asyncio.run(main())
    assert "async with Client(" in (tmp_path / "report.html").read_text()


def test_a_with_block_of_an_asynchronous_client_is_refused_and_an_async_one_suits_every_client(
    cluster: LocalCluster, client: Client, tmp_path: Path
) -> None:
    import asyncio

    async def main() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True) as other:
            blocks = {
                "performance_report": performance_report(tmp_path / "report.html"),
                "sampler.sample": MemorySampler().sample(client=other),
                "get_task_stream": get_task_stream(other),
            }
            for name, block in blocks.items():
                with pytest.raises(TypeError, match=rf"async with {name}\(…\)"):
                    block.__enter__()
        sampler = MemorySampler()
        async with sampler.sample("x", client=client, interval=0.01), get_task_stream(client) as told:
            client.submit(twice, 77).result()
        assert len(told.data) == 1
        assert len(sampler.samples["x"]) >= 2

    asyncio.run(main())


def test_wrong_arguments_are_named(client: Client) -> None:
    with pytest.raises(TypeError, match="filename must be a path or a URL, not 5"):
        performance_report(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="interval: 'x' is no time"):
        MemorySampler().sample(client=client, interval="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="start and stop are seconds since the epoch"):
        client.get_task_stream(start=object())  # type: ignore[arg-type]


# ---------------------------------------------------------------- memory


def test_memory_is_sampled_while_a_block_runs(client: Client) -> None:
    sampler = MemorySampler()
    with sampler.sample("first", client=client, interval=0.01) as same:
        client.submit(nap, 0.1).result()
    assert same is sampler
    with sampler.sample(client=client, measure="managed_total", interval=0.01):
        held = client.submit(bytes, 300_000)
        held.result()
    first, second = sampler.samples.values()
    assert len(first) > 3
    assert all(size > 10_000_000 for _, size in first)
    assert [time_s for time_s, _ in first] == sorted(time_s for time_s, _ in first)
    assert (second[0][1], second[-1][1]) == (0, 300_033)
    table = sampler.to_pandas()
    assert next(iter(table.columns)) == "first"
    assert table["first"].count() == len(first)
    aligned = sampler.to_pandas(align=True)
    assert aligned.index[0].total_seconds() == 0
    assert aligned.iloc[0].notna().all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"measure": "cpu"}, "measure must be one of process"), ({"interval": 0}, "interval must be a time above 0")],
)
def test_samples_that_make_no_sense(client: Client, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MemorySampler().sample("x", client=client, **wrong)


def test_samples_are_drawn_by_pandas(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = MemorySampler()
    sampler.samples["x"] = [(1.0, 2**30), (2.0, 2**31)]
    monkeypatch.setitem(sys.modules, "drawer", type("Drawer", (), {"plot": staticmethod(_drawn)}))
    assert sampler.plot(backend="drawer", title="T") == ([1.0, 2.0], "T")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        sampler.plot()


def _drawn(table: Any, kind: str, **kwargs: Any) -> Any:
    return list(table["x"]), kwargs["title"]

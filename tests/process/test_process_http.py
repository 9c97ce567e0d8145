"""What programs read over HTTP from a running cluster: metrics, tables, call stacks, logs."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from process_help import until
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from windrow import Client, LocalCluster, Semaphore

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def looked_at() -> Iterator[Client]:
    """A client of a cluster with one worker in a process of its own."""
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "name": "seen"}
    with LocalCluster(**options, dashboard_address=":0", worker_dashboard_address=":0") as cluster:
        with Client(cluster, set_as_default=False) as client:
            yield client


def get(client: Client, path: str) -> tuple[int, str]:
    return fetch((client.dashboard_link or "").removesuffix("/status") + path)


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def page(client: Client, path: str) -> str:
    status, text = get(client, path)
    assert status == 200, text
    return text


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def address_of(client: Client) -> str:
    [address] = client.scheduler_info()["workers"]
    return str(address)


def figures(text: str) -> dict[str, float]:
    """Return figures by name and labels."""
    return {
        name: float(value) for name, value in re.findall(r"^([^#\s][^ {]*(?:\{.*\})?) (\S+)$", text, flags=re.MULTILINE)
    }


def test_metrics_are_of_the_whole_life_of_the_scheduler(looked_at: Client) -> None:
    client = looked_at
    client.gather(client.map(tasks.inc, range(5)))  # and let go
    bad = client.submit(tasks.fail, 1)
    assert bad.exception() is not None
    semaphore = Semaphore(max_leases=2, name="measured", client=client)
    assert semaphore.acquire()

    def told() -> dict[str, float]:
        return figures(page(client, "/metrics"))

    until(lambda: told().get('dask_scheduler_prefix_state_totals_total{state="forgotten",task_prefix_name="inc"}') == 5)
    until(lambda: told()['dask_scheduler_tasks{state="erred"}'] == 1)
    found = told()
    assert found['dask_scheduler_prefix_state_totals_total{state="memory",task_prefix_name="inc"}'] == 5
    assert found['dask_scheduler_prefix_state_totals_total{state="erred",task_prefix_name="fail"}'] == 1
    assert found['dask_scheduler_tasks_compute_seconds_total{task_prefix_name="inc"}'] > 0
    assert found["dask_scheduler_workers_added_total"] == 1
    assert found["dask_scheduler_workers_removed_total"] == 0
    assert found["dask_scheduler_client_connections_added_total"] >= 1
    assert found['dask_semaphore_active_leases{name="measured"}'] == 1
    until(lambda: told()["dask_scheduler_tick_count_total"] > 0)
    semaphore.release()


def test_metrics_of_a_worker_tell_what_it_holds_and_sends(looked_at: Client) -> None:
    client = looked_at
    held = client.submit(bytes, 100_000)
    assert len(held.result()) == 100_000
    [worker] = client.scheduler_info()["workers"].values()
    status, text = fetch(worker["dashboard_link"].removesuffix("/status") + "/metrics")
    assert status == 200
    found = figures(text)
    assert found["dask_worker_threads"] == 1
    assert found['dask_worker_tasks{state="memory"}'] >= 1
    assert found['dask_worker_memory_bytes{type="unmanaged"}'] > 1e6
    assert found["dask_worker_transfer_outgoing_count_total"] >= 1
    assert found["dask_worker_transfer_outgoing_bytes_total"] >= 100_000
    assert found['dask_worker_spill_count_total{activity="disk-write"}'] == 0


def test_counts_have_all_fields(looked_at: Client) -> None:
    counts = json.loads(page(looked_at, "/json/counts.json"))
    assert counts.keys() >= {
        *("bytes", "clients", "cores", "erred", "hosts", "idle", "memory", "processing", "released", "saturated"),
        *("tasks", "unrunnable", "waiting", "waiting_data", "workers", "desired_workers"),
    }
    assert {type(count) for count in counts.values()} == {int}
    assert (counts["workers"], counts["clients"]) == (1, 1)


def test_an_index_leads_to_the_json(looked_at: Client) -> None:
    links = re.findall(r'href="([^"]+\.json)"', page(looked_at, "/json/index.html"))
    assert "counts.json" in links
    assert "identity.json" in links
    for link in links:
        json.loads(page(looked_at, f"/json/{link}"))


def test_where_tasks_are_in_their_code(looked_at: Client, tmp_path: Path) -> None:
    client, address = looked_at, address_of(looked_at)
    started, go = tmp_path / "started", tmp_path / "go"
    running = client.submit(tasks.announce_and_wait, str(started), str(go), key="runs <here>")
    until(started.exists)
    for path in (f"/info/call-stacks/{quoted(address)}.html", f"/info/call-stack/{quoted('runs <here>')}.html"):
        text = page(client, path)
        assert "runs &lt;here&gt;" in text
        assert "announce_and_wait" in text
        assert "runs <here>" not in text
    assert "call-stack/runs%20%3Chere%3E.html" in page(client, f"/info/task/{quoted('runs <here>')}.html")
    go.write_text("")
    running.result()
    assert "Nothing runs" in page(client, f"/info/call-stack/{quoted('runs <here>')}.html")


def test_the_log_of_a_worker(looked_at: Client) -> None:
    def speak() -> None:
        import logging

        logging.getLogger("windrow.worker").warning("something <b>odd</b>")

    looked_at.run(speak)
    text = page(looked_at, f"/info/logs/{quoted(address_of(looked_at))}.html")
    assert "something &lt;b&gt;odd&lt;/b&gt;" in text


def test_who_is_connected(looked_at: Client) -> None:
    assert looked_at.id in page(looked_at, "/info/main/clients.html")


@pytest.mark.parametrize(
    "path",
    ["/info/logs/tcp%3A%2F%2Fx.html", "/info/call-stacks/tcp%3A%2F%2Fx.html", "/info/call-stack/nope.html"],
)
def test_of_what_is_not_there_no_page_is(looked_at: Client, path: str) -> None:
    status, text = get(looked_at, path)
    assert status == 404
    assert "no " in text


# ---------------------------------------------------------------- the stream of events


def listen(client: Client, act: Callable[[], object], *wanted: str) -> list[dict[str, Any]]:
    """Do something in another thread, and return what the stream of events tells until all that is wanted was told."""

    async def main() -> list[dict[str, Any]]:
        url = (client.dashboard_link or "").replace("http", "ws").replace("/status", "/eventstream")
        connection = await websocket_connect(url)
        await connection.write_message("ping")
        heard = [json.loads(await connection.read_message() or "")]
        assert heard.pop()["name"] == "pong"
        acting = asyncio.get_running_loop().run_in_executor(None, act)
        async with asyncio.timeout(LIMIT_S):
            while not {event["name"] for event in heard} >= set(wanted):
                heard.append(json.loads(await connection.read_message() or ""))
        await acting
        connection.close()
        return heard

    return asyncio.run(main())


def test_the_stream_tells_who_comes_and_goes_and_what_is_asked(looked_at: Client) -> None:
    def act() -> None:
        with Client(looked_at.cluster, set_as_default=False, name="visitor") as visitor:
            visitor.gather(visitor.map(tasks.inc, range(7)))

    heard = listen(looked_at, act, "add_client", "update_graph", "remove_client")
    assert [event["name"] for event in heard] == ["add_client", "update_graph", "remove_client"]
    assert heard[0]["client"] == heard[2]["client"]
    assert "visitor" in heard[0]["client"]
    assert heard[1]["tasks"] == 7
    cluster: Any = looked_at.cluster
    until(lambda: cluster.scheduler.core.state.news is None, "nobody listens, and nothing is noted any more")


def test_a_page_of_another_site_hears_nothing(looked_at: Client) -> None:
    async def main() -> None:
        url = (looked_at.dashboard_link or "").replace("http", "ws").replace("/status", "/eventstream")
        await websocket_connect(HTTPRequest(url, headers={"Origin": "http://elsewhere.example"}))

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(main())


def test_a_stranger_hears_nothing() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address="0.0.0.0:0") as cluster:
        parts = urllib.parse.urlsplit(cluster.dashboard_link)

        async def main() -> None:
            await websocket_connect(f"ws://127.0.0.1:{parts.port}/eventstream")

        with pytest.raises(HTTPClientError, match="401"):
            asyncio.run(main())

"""A dashboard's address: right from the start, answered when somebody comes, gone with its cluster."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
import process_tasks as tasks
import pytest
from process_help import family, is_gone, run_python, until, until_gone

from windrow import Client, LocalCluster, Scheduler
from windrow.dashboard import dashboard as door

LIMIT_S = 20.0


def fetch(link: str, path: str = "status", **headers: str) -> tuple[int, str, dict[str, str]]:
    """What the dashboard of a link answers at a path: status, body, headers."""
    parts = urllib.parse.urlsplit(link)
    url = parts._replace(path=parts.path.removesuffix("status") + path).geturl()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def page(link: str, path: str = "status") -> str:
    status, body, _ = fetch(link, path)
    assert status == 200, body
    return body


def facts(link: str, path: str) -> Any:
    return json.loads(page(link, f"json/{path}.json"))


def small(**options: Any) -> LocalCluster:
    return LocalCluster(**{"n_workers": 0, "processes": False, **options})


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == errno.ECONNREFUSED


@pytest.fixture(scope="module")
def shown() -> Iterator[Client]:
    """A cluster that is looked at."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        with Client(cluster) as client:
            yield client


# ---------------------------------------------------------------- the address


def test_the_link_is_there_at_once_and_nothing_runs_behind_it_before_somebody_comes() -> None:
    with small(dashboard_address=":0") as cluster:
        dashboard = cluster.scheduler.dashboard
        assert cluster.dashboard_link == f"http://127.0.0.1:{dashboard.port}/status"
        assert dashboard.pid is None
        assert page(cluster.dashboard_link, "health") == "ok"
        assert dashboard.pid in family()
        assert cluster.scheduler_info["services"] == {"dashboard": dashboard.port}


def is_loaded(pid: int, library: str) -> bool:
    """Whether a process has a library in its memory."""
    return library in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say what a process has loaded")
def test_it_gets_ready_though_nobody_has_come_and_hurries_when_somebody_does() -> None:
    with (
        dask.config.set({"windrow.dashboard.ready-after": "0s"}),
        small(processes=True, dashboard_address=":0") as cluster,
    ):
        dashboard = cluster.scheduler.dashboard
        until(lambda: dashboard.pid is not None)
        pid = dashboard.pid
        until(lambda: is_loaded(pid, "_psutil"))  # it has begun
        assert page(cluster.dashboard_link, "health") == "ok"
        assert json.loads(page(cluster.dashboard_link, "status/session"))["token"]
        assert is_loaded(pid, "_multiarray_umath")  # of numpy, which Bokeh needs
        assert dashboard.pid == pid
    until_gone([pid])


@pytest.mark.parametrize(("ready_after", "processes"), [(None, True), ("0s", False)])
def test_without_that_setting_or_processes_nothing_runs_before_somebody_comes(
    ready_after: str | None, processes: bool
) -> None:
    with (
        dask.config.set({"windrow.dashboard.ready-after": ready_after}),
        small(processes=processes, dashboard_address=":0") as cluster,
    ):
        assert cluster.scheduler.dashboard._ahead is None


def test_what_a_program_has_set_holds_in_the_dashboards_process() -> None:
    with (
        dask.config.set({"distributed.dashboard.prometheus.namespace": "ours"}),
        small(dashboard_address=":0") as cluster,
    ):
        assert "ours_scheduler_workers" in page(cluster.dashboard_link, "metrics")


def test_ten_clusters_at_once() -> None:
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("error")
        clusters = [stack.enter_context(small()) for _ in range(10)]
        links = [cluster.dashboard_link for cluster in clusters]
        assert len(set(links)) == 10
        shown = [facts(link, "identity")["id"] for link in links]
        assert shown == [cluster.scheduler.id for cluster in clusters]


def test_ten_clusters_say_nothing() -> None:
    source = (
        "from windrow import LocalCluster\nfrom urllib.request import urlopen\n"
        "clusters = [LocalCluster(n_workers=0, processes=False) for _ in range(10)]\n"
        "print([urlopen(c.dashboard_link.replace('status', 'health')).read() for c in clusters[::5]])\n"
    )
    assert run_python("-c", source) == ("[b'ok', b'ok']\n", "")


def test_a_port_that_is_taken_costs_only_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, warnings.catch_warnings():
        warnings.simplefilter("error")
        taken = other.getsockname()[1]
        with small(dashboard_address=f":{taken}") as cluster:
            assert f":{taken}/" not in cluster.dashboard_link
            assert page(cluster.dashboard_link, "health") == "ok"


def test_no_dashboard() -> None:
    with small(dashboard_address=None) as cluster, Client(cluster, set_as_default=False) as client:
        assert cluster.dashboard_link == ""
        assert client.dashboard_link is None
        assert cluster.scheduler_info["services"] == {}


def test_an_address_of_others_fails_the_start_with_words() -> None:
    with pytest.raises(RuntimeError, match=r"the dashboard cannot listen on 192\.0\.2\.1:8787"):
        small(dashboard_address="192.0.2.1:8787")


def test_several_addresses_are_one_dashboard() -> None:
    with small(dashboard_address=":0,localhost:0") as cluster:
        ports = [sock.getsockname()[1] for sock in cluster.scheduler.dashboard._sockets]
        assert [page(f"http://127.0.0.1:{port}/status", "health") for port in ports] == ["ok", "ok"]


def test_a_prefix_is_before_every_path() -> None:
    with small(dashboard_address=":0", service_kwargs={"dashboard": {"prefix": "/foo"}}) as cluster:
        link = cluster.dashboard_link
        assert link.endswith("/foo/status")
        paths = json.loads(page(link, "sitemap.json"))["paths"]
        assert {page(link, path.lstrip("/")) is not None for path in paths} == {True}
        status, body, _ = fetch(link.replace("/foo", ""))
        assert (status, "stands in ./foo/sitemap.json" in body) == (404, True)
        assert fetch(link.replace("/foo", "") + "/")[0] == 404
        for other in ("", "/status/"):  # as people type them
            assert "windrow: Status" in page(link.replace("/status", other), "")
        assert "windrow: Status" in page(link, "")  # and so does where it leads to


def test_from_another_machine_a_token_is_asked_for() -> None:
    with small(dashboard_address="0.0.0.0:0") as cluster:
        parts = urllib.parse.urlsplit(cluster.dashboard_link)
        [token] = urllib.parse.parse_qs(parts.query)["token"]
        bare = f"http://127.0.0.1:{parts.port}/status"
        paths = json.loads(page(f"{bare}?token={token}", "sitemap.json"))["paths"]
        assert "/status" in paths
        for path in [*paths, "/info/task/x.html", "/no-such-page"]:
            status, body, _ = fetch(bare, path.lstrip("/"))
            assert (path, status) == (path, 200 if path == "/health" else 401)
            assert token not in body
        assert fetch(f"{bare}?token={token}x")[0] == 401
        status, body, headers = fetch(f"{bare}?token={token}")
        assert status == 200
        assert f'href="./info/main/workers.html?token={token}"' in body
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert fetch(bare, Cookie=cookie.partition(";")[0])[0] == 200
        assert fetch(bare, Authorization=f"Bearer {token}")[0] == 200
        assert token not in fetch(bare, "json/identity.json", Authorization=f"Bearer {token}")[1]


def test_a_bare_port_is_where_the_scheduler_listens() -> None:
    async def main() -> None:
        async with Scheduler(host="0.0.0.0", dashboard_address=":0") as scheduler:
            assert scheduler.dashboard.token
            assert scheduler.identity()["dashboard_link"].endswith(f"/status?token={scheduler.dashboard.token}")

    asyncio.run(main())


def test_a_client_of_an_address_knows_the_link(cluster: LocalCluster) -> None:
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        assert client.dashboard_link == cluster.dashboard_link

    async def main() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            assert client.dashboard_link == cluster.dashboard_link

    asyncio.run(main())


# ---------------------------------------------------------------- the process


def test_a_dashboard_that_is_killed_is_there_again_at_the_next_request(caplog: pytest.LogCaptureFixture) -> None:
    with small(dashboard_address=":0") as cluster:
        link, dashboard = cluster.dashboard_link, cluster.scheduler.dashboard
        page(link, "health")
        first = dashboard.pid
        assert first is not None
        with caplog.at_level(logging.WARNING, "windrow.dashboard"):
            os.kill(first, signal.SIGKILL)
            until(lambda: dashboard.pid is None, "its end is noticed")
            assert page(link, "health") == "ok"
        assert dashboard.pid not in (None, first)
        assert f"(pid {first}) was killed by SIGKILL" in caplog.text


def test_one_that_cannot_start_is_not_started_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("windrow.offspring._START", "import sys; sys.exit('no tornado')")
    monkeypatch.setattr(door, "PAUSES_S", (0.0, 100.0))
    with small(dashboard_address=":0") as cluster:
        dashboard = cluster.scheduler.dashboard
        with socket.create_connection(("127.0.0.1", dashboard.port)):
            until(lambda: dashboard._failures == 2, "two attempts")
        assert caplog.text.count("exited with code 1; its last words: no tornado") == 2
        assert dashboard._pause.when() - dashboard._loop.time() > 50
    assert is_free(dashboard.port)


def test_a_cluster_takes_its_dashboard_along() -> None:
    cluster = small(dashboard_address=":0")
    page(cluster.dashboard_link, "health")
    pid, port = cluster.scheduler.dashboard.pid, cluster.scheduler.dashboard.port
    cluster.close()
    assert is_gone(pid)
    assert is_free(port)


def test_a_cluster_that_closes_while_its_dashboard_starts() -> None:
    cluster = small(dashboard_address=":0")
    dashboard = cluster.scheduler.dashboard
    with socket.create_connection(("127.0.0.1", dashboard.port)):
        until(lambda: dashboard.pid is not None, "it has been started")
        pid = dashboard.pid
        cluster.close()
    assert is_gone(pid)
    assert is_free(dashboard.port)


def test_a_program_that_is_killed_leaves_no_dashboard(start_python: Callable[..., subprocess.Popen[str]]) -> None:
    program = start_python(
        "from windrow import LocalCluster\nfrom urllib.request import urlopen\n"
        "cluster = LocalCluster(n_workers=0, processes=False, dashboard_address=':0')\n"
        "urlopen(cluster.dashboard_link.replace('status', 'health')).read()\n"
        "print(cluster.scheduler.dashboard.pid, flush=True)\nimport time; time.sleep(100)"
    )
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    assert not is_gone(pid)
    program.kill()
    until_gone([pid])


def test_nobody_looks_for_long_and_the_process_ends_until_somebody_comes(caplog: pytest.LogCaptureFixture) -> None:
    start = "import windrow.observe.__main__ as observe; observe.IDLE_S = 0.2; observe.main()"
    unready = dask.config.set({"windrow.dashboard.ready-after": None})
    with pytest.MonkeyPatch.context() as patch, unready, small(dashboard_address=":0") as cluster:
        patch.setattr("windrow.offspring._START", start)
        dashboard = cluster.scheduler.dashboard
        page(cluster.dashboard_link, "health")
        first = dashboard.pid
        until(lambda: dashboard.pid is None, "it ends")
        patch.undo()
        assert page(cluster.dashboard_link, "health") == "ok"
        assert dashboard.pid != first
    assert not caplog.text


def test_the_process_has_none_of_the_users_libraries_and_no_secret_shows() -> None:
    with dask.config.set({"windrow.dashboard.ready-after": None}), small(dashboard_address=":0") as cluster:
        page(cluster.dashboard_link, "json/status.json")
        pid = cluster.scheduler.dashboard.pid
        with open(f"/proc/{pid}/cmdline") as command, open(f"/proc/{pid}/environ") as environment:
            assert cluster.secret.hex() not in command.read() + environment.read()
        assert not is_loaded(pid, "numpy")
        assert not is_loaded(pid, "pandas")


# ---------------------------------------------------------------- workers' own


def link_of(client: Client) -> str:
    [worker] = client.scheduler_info()["workers"].values()
    link: str = worker["dashboard_link"]
    assert worker["services"] == {"dashboard": urllib.parse.urlsplit(link).port}
    return link


@pytest.mark.parametrize("processes", [True, False])
def test_a_worker_shows_what_it_does(processes: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "processes": processes}
    with LocalCluster(**options, dashboard_address=None, worker_dashboard_address=":0") as cluster:
        with Client(cluster, set_as_default=False) as client:
            link = link_of(client)
            started, go = tmp_path / "started", tmp_path / "go"
            running = client.submit(tasks.announce_and_wait, str(started), str(go), key="runs <here>")
            until(started.exists)
            told = facts(link, "status")
            assert told["tasks"] == [["runs <here>", "running"]]
            text = page(link)
            assert "runs &lt;here&gt;" in text
            assert "announce_and_wait" in text  # its frames
            assert 'dask_worker_tasks{state="executing"} 1.0' in page(link, "metrics")
            for path in json.loads(page(link, "sitemap.json"))["paths"]:
                assert fetch(link, path.lstrip("/"))[0] == 200, path
            children = family(cluster.workers[0].pid if processes else None)
            pids = [pid for pid, command in children.items() if "windrow.observe" in command]
            assert pids
            go.write_text("")
            running.result()
    if processes:  # of those in this process, others of the module's may be there
        until_gone(pids)


def test_the_dashboard_of_a_worker_that_is_killed_goes_with_it() -> None:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1}
    with LocalCluster(**options, dashboard_address=None, worker_dashboard_address=":0") as cluster:
        with Client(cluster, set_as_default=False) as client:
            assert page(link_of(client), "health") == "ok"
            worker = cluster.workers[0].pid
            [pid] = family(worker)
            os.kill(worker, signal.SIGKILL)
            until_gone([pid])


def test_workers_have_no_dashboard_by_default(cluster: LocalCluster) -> None:
    told = cluster.scheduler_info["workers"].values()
    assert {worker["dashboard_link"] for worker in told} == {""}


# ---------------------------------------------------------------- what is shown


def test_why_a_task_is_as_it_is(shown: Client) -> None:
    failed = shown.submit(tasks.fail, "<i>for that</i>", key="why not")
    failed.exception()
    told = page(shown.dashboard_link or "", "explain/why%20not")
    assert "its error is process_tasks.Oops: &lt;i&gt;for that&lt;/i&gt;" in told
    assert "is not known" in page(shown.dashboard_link or "", "explain/nothing")


def test_json_and_pages_say_what_is_so(shown: Client) -> None:
    link = shown.dashboard_link or ""
    done = shown.map(tasks.inc, range(5))
    shown.gather(done)
    bad = shown.submit(tasks.fail, "<script>alert(1)</script>", key="bad & worse")
    assert bad.exception() is not None
    until(lambda: facts(link, "counts")["erred"] == 1, "the next count")
    counts = facts(link, "counts")
    assert (counts["memory"], counts["erred"], counts["workers"], counts["cores"]) == (5, 1, 1, 1)
    status = facts(link, "status")
    assert {row["prefix"]: row["memory"] for row in status["tasks"]}["inc"] == 5
    [row] = status["workers"]
    assert row["stored"] == 5
    assert facts(link, "identity")["workers"].keys() == {row["address"]}

    assert row["address"] in page(link, "info/main/workers.html")
    address = urllib.parse.quote(row["address"], safe="")
    assert row["local_directory"] in page(link, f"info/worker/{address}.html")
    exceptions = page(link, "info/main/exceptions.html")
    assert "bad &amp; worse" in exceptions
    assert "<script>alert" not in exceptions
    assert "&lt;script&gt;alert(1)" in page(link, f"info/task/{urllib.parse.quote('bad & worse')}.html")
    assert "Traceback" in page(link, f"info/task/{urllib.parse.quote('bad & worse')}.html")


def test_a_task_of_a_collection_is_found_by_the_text_of_its_key(shown: Client) -> None:
    future = shown.submit(tasks.inc, 1, key=("x-1", 0))
    future.result()
    assert "memory" in page(shown.dashboard_link or "", f"info/task/{urllib.parse.quote(str(future.key))}.html")


def test_the_log_of_the_scheduler_is_shown(shown: Client) -> None:
    logging.getLogger("windrow.scheduler").warning("something <b>odd</b>")
    text = page(shown.dashboard_link or "", "info/main/logs.html")
    assert "something &lt;b&gt;odd&lt;/b&gt;" in text


@pytest.mark.parametrize(
    "path", ["nope", "info/task/nope%20%25s.html", "info/worker/tcp%3A%2F%2Fx.html", "statics/nope"]
)
def test_what_is_not_there(path: str, shown: Client) -> None:
    status, body, _ = fetch(shown.dashboard_link or "", path)
    assert status == 404
    assert any(words in body for words in ("no ", "Not Found", "does not know it"))
    assert "%%" not in body


def test_every_path_of_the_map_answers(shown: Client) -> None:
    link = shown.dashboard_link or ""
    for path in json.loads(page(link, "sitemap.json"))["paths"]:
        assert fetch(link, path.lstrip("/"))[0] == 200, path
    assert "dask_scheduler_workers" in page(link, "metrics")
    assert page(link, "statics/style.css")


def test_to_look_changes_nothing(shown: Client) -> None:
    link = shown.dashboard_link or ""
    page(link, "json/status.json")
    assert facts(link, "counts")["clients"] == 1  # who looks is no client
    request = urllib.request.Request(link, data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=LIMIT_S)

"""``/api/v1``: who may look may read; what changes something takes the secret, in a header, as JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import process_tasks as tasks
import pytest
from process_help import until

from windrow import Client, LocalCluster, roles
from windrow.roles import Role

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def small() -> Iterator[LocalCluster]:
    """A cluster of two workers that is on loopback, as its dashboard is."""
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "port": 0}
    with LocalCluster(**options, dashboard_address=":0", protocol="tcp") as cluster:
        yield cluster


def ask(cluster: LocalCluster, path: str, wish: object = None, **headers: str) -> tuple[int, Any]:
    """Ask by GET, or with a wish by POST; return the status and what the JSON says."""
    parts = urllib.parse.urlsplit(cluster.dashboard_link)
    url = f"http://127.0.0.1:{parts.port}/api/v1{path}"
    data = None if wish is None else wish if isinstance(wish, bytes) else json.dumps(wish).encode()
    more = {} if wish is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, {**more, **headers})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def bearer(cluster: LocalCluster, role: Role = Role.ADMINISTER) -> str:
    return f"Bearer {roles.to_text(roles.token(cluster.secret, role))}"


def number_of(cluster: LocalCluster) -> int:
    return len(cluster.scheduler.core.state.workers)


# ---------------------------------------------------------------- reading


def test_who_may_look_may_read(small: LocalCluster) -> None:
    status, told = ask(small, "/get_workers")
    assert status == 200
    assert told["num_workers"] == 2
    assert {worker["address"] for worker in told["workers"]} == set(small.scheduler_info["workers"])
    assert ask(small, "/adaptive_target") == (200, {"workers": 0})
    assert ask(small, "")[1]["paths"][0] == "/api/v1/adaptive_target"


def test_since_when_nothing_is_done(small: LocalCluster) -> None:
    with Client(small, set_as_default=False) as client:
        client.submit(tasks.inc, 1).result()
        until(lambda: ask(small, "/check_idle")[1]["idle_since"] is not None)
        assert small.scheduler.started < ask(small, "/check_idle")[1]["idle_since"]


def test_elsewhere_reading_takes_a_token_and_a_watch_token_will_do() -> None:
    options: dict[str, Any] = {"n_workers": 0, "processes": False, "dashboard_address": "0.0.0.0:0"}
    with LocalCluster(**options, protocol="tcp") as cluster:
        status, told = ask(cluster, "/get_workers")
        assert status == 401
        assert "watch token" in told["Error"]
        for role in Role:
            assert ask(cluster, "/get_workers", Authorization=bearer(cluster, role))[0] == 200
        strange = roles.to_text(roles.token(b"x" * 32, Role.WATCH))
        assert ask(cluster, "/get_workers", Authorization=f"Bearer {strange}")[0] == 401
        # the token of the link lets look, and no more
        [token] = urllib.parse.parse_qs(urllib.parse.urlsplit(cluster.dashboard_link).query)["token"]
        assert ask(cluster, "/get_workers", Authorization=f"Bearer {token}")[0] == 200
        assert ask(cluster, "/scale", {"n": 1}, Authorization=f"Bearer {token}")[0] == 403
        assert number_of(cluster) == 0


# ---------------------------------------------------------------- what changes something


def test_a_cluster_is_scaled_and_workers_retire(small: LocalCluster) -> None:
    assert ask(small, "/scale", {"n": 3}, Authorization=bearer(small)) == (200, {"workers": 3})
    until(lambda: number_of(small) == 3)
    [first, *_] = ask(small, "/get_workers")[1]["workers"]
    status, told = ask(small, "/retire_workers", {"workers": [first["name"]]}, Authorization=bearer(small))
    assert (status, told) == (200, {"num_workers": 1, "workers": [first["address"]]})
    until(lambda: number_of(small) == 2)
    status, told = ask(small, "/retire_workers", {"n": 1}, Authorization=bearer(small))
    assert (status, told["num_workers"]) == (200, 1)
    assert ask(small, "/scale", {"n": 2}, Authorization=bearer(small))[0] == 200
    until(lambda: number_of(small) == 2)
    assert not small.scheduler.core.state.clients  # who asked is gone


def test_without_the_secret_nothing_changes(small: LocalCluster) -> None:
    before = set(small.scheduler.core.state.workers)
    wish = {"n": 1}
    for authorization, status, words in (
        ("", 401, "takes the role administer"),
        (bearer(small, Role.WATCH), 403, "and this connection has watch"),
        (bearer(small, Role.SUBMIT), 403, "and this connection has submit"),
        (f"Bearer {'ab' * 32}", 403, "not the cluster's secret"),
        ("Bearer rubbish", 403, "neither a secret"),
        (f"Basic {small.secret.hex()}", 401, "takes the role administer"),
    ):
        code, told = ask(small, "/retire_workers", wish, Authorization=authorization)
        assert (code, words in told["Error"]) == (status, True), told
        assert "Bearer" in told["Error"] or "secret" in told["Error"]  # what to do
    secret = small.secret.hex()
    assert ask(small, f"/retire_workers?token={secret}", wish)[0] == 401
    assert ask(small, "/retire_workers", wish, Cookie=f"windrow-{small.scheduler.dashboard.port}={secret}")[0] == 401
    assert set(small.scheduler.core.state.workers) == before


def test_a_get_changes_nothing(small: LocalCluster) -> None:
    status, told = ask(small, "/retire_workers?n=1", Authorization=bearer(small))
    assert status == 200
    assert '"workers": a list' in told["POST"]
    assert number_of(small) == 2


@pytest.mark.parametrize(
    ("path", "wish", "status", "words"),
    [
        ("/retire_workers", b"{", 400, "no JSON"),
        ("/retire_workers", [], 400, "nothing else"),
        ("/retire_workers", {}, 400, "either which"),
        ("/retire_workers", {"n": 1, "workers": []}, 400, "either which"),
        ("/retire_workers", {"n": True}, 400, "'n' is a number"),
        ("/retire_workers", {"n": 0}, 400, "1 or more"),
        ("/retire_workers", {"workers": "all"}, 400, "a list"),
        ("/retire_workers", {"workers": ["100%"]}, 404, "there are no workers 100%, and nothing was done"),
        ("/scale", {}, 400, "how many"),
        ("/scale", {"n": -1}, 400, "how many"),
        ("/scale", {"n": 10**9}, 400, "how many"),
        ("/scale", {"n": 1, "force": True}, 400, "nothing else"),
        ("/get_workers", {}, 405, "by POST"),
    ],
)
def test_a_wish_that_makes_no_sense(small: LocalCluster, path: str, wish: object, status: int, words: str) -> None:
    code, told = ask(small, path, wish, Authorization=bearer(small))
    assert (code, words in told["Error"]) == (status, True), told
    assert number_of(small) == 2


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_what_a_form_of_a_page_could_send_is_refused(small: LocalCluster, kind: str) -> None:
    headers = {"Authorization": bearer(small), "Content-Type": kind}
    code, told = ask(small, "/retire_workers", {"n": 1}, **headers)
    assert code == 415
    assert "application/json" in told["Error"]
    assert number_of(small) == 2


def test_a_scheduler_that_nobody_scales_says_so() -> None:
    import asyncio

    from windrow import Scheduler

    async def main() -> tuple[int, Any]:
        async with Scheduler(dashboard_address=":0") as scheduler:
            authorization = f"Bearer {scheduler.secret.hex()}"
            fake: Any = type("Shown", (), {"dashboard_link": scheduler.dashboard.link})
            return await asyncio.to_thread(ask, fake, "/scale", {"n": 1}, Authorization=authorization)

    status, told = asyncio.run(main())
    assert status == 409
    assert "windrow worker tcp://" in told["Error"]

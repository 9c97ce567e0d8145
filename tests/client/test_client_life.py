"""A client's life: making, being found, closing; and what it asks the cluster."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from fake_scheduler import FakeScheduler, identity, until

from windrow import Security
from windrow.client import Client, Future, connection, default_client
from windrow.client import client as module
from windrow.errors import ClosedClientError, WindrowError, WorkerStartTimeoutError
from windrow.transport.lasting import Reception
from windrow.wire import failure, payload
from windrow.wire import messages as m
from windrow.wire import requests as r


def inc(x):
    return x + 1


# ---------------------------------------------------------------- making


def test_the_first_message_says_who_it_is(fake):
    with Client(fake, name="me") as client:
        assert fake.wait_for(m.HelloClient) == [m.HelloClient(client.id, "me")]
        assert client.id.startswith("Client-me-")
        assert client.status == "running"
        assert client.cluster is fake
        assert client.loop is fake.loop_thread.loop
        assert client.dashboard_link == fake.dashboard_link
        assert not client.asynchronous


def test_a_client_without_an_address_makes_and_closes_its_cluster(fake, monkeypatch):
    asked = {}
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.setattr(module, "cluster_factory", lambda **kwargs: asked.update(kwargs) or fake)
    with Client(n_workers=3, processes=False):
        assert asked == {"asynchronous": False, "n_workers": 3, "processes": False}
        assert fake.closed == 0
    assert fake.closed == 1


def test_a_client_of_a_cluster_leaves_it_alone(fake):
    Client(fake).close()
    assert fake.closed == 0


def test_no_factory_no_cluster(monkeypatch):
    monkeypatch.setattr(module, "cluster_factory", None)
    with pytest.raises(RuntimeError, match=r"windrow\.deploy"):
        Client()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"address": 5}, TypeError, "address must be a string or a cluster, not int"),
        ({"address": "tcp://127.0.0.1:1", "n_workers": 2}, ValueError, "n_workers"),
        ({"address": "tcp://127.0.0.1:1", "timeout": None}, ValueError, "timeout"),
        ({"address": "tcp://127.0.0.1:1", "security": object()}, TypeError, "security"),
        ({"address": "tcp://127.0.0.1:1", "secret": 5}, TypeError, "secret"),
        ({"address": "smoke://signal:1", "secret": b"x"}, ValueError, "smoke"),
        ({"address": "tcp://127.0.0.1:1", "secret": "zz"}, ValueError, "neither a secret"),
        ({"address": "tcp://127.0.0.1:1", "timeout": "soon"}, ValueError, "timeout: 'soon' is no time"),
        ({"asynchronous": True}, RuntimeError, "asynchronous=True needs a running event loop"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Client(**arguments)


def test_a_closed_cluster_is_refused(fake):
    fake.status = "closed"
    with pytest.raises(RuntimeError, match="is closed"):
        Client(fake)


def test_nobody_there(tmp_path):
    before = threading.active_count()
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1\b"):
        Client("tcp://127.0.0.1:1", secret=b"s" * 32, timeout=0.05)
    until(lambda: threading.active_count() <= before)


def test_nobody_there_of_whom_nothing_is_published():
    with pytest.raises(ConnectionError, match=r"nobody answers at tcp://127.0.0.1:13, and nothing is published.*start"):
        Client("127.0.0.1:13")


@pytest.mark.parametrize("text", ["", "submit:5b3f\n"])
def test_a_scheduler_file_that_stays_no_json(tmp_path, monkeypatch, text):
    monkeypatch.setattr(connection, "FILE_WHOLE_S", 0.05)
    file = tmp_path / "submit.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"submit\.json' is no scheduler file: .*bare token"):
        Client(scheduler_file=str(file))


def test_a_scheduler_file_that_does_not_come(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(connection, "FILE_PATIENCE_S", 0.05)
    with pytest.raises(TimeoutError, match=r"there is no scheduler file .*none.json', after 0.2 s"):
        Client(scheduler_file=str(tmp_path / "none.json"), timeout=0.2)

    async def look():
        await Client(scheduler_file=str(tmp_path / "none.json"), timeout=0.2, asynchronous=True)

    with pytest.raises(TimeoutError, match="there is no scheduler file"):
        asyncio.run(look())
    assert caplog.text.count("waits for the scheduler file") == 2  # one each


def test_certificates_that_are_not_there():
    with pytest.raises(OSError, match="tls_ca_file='/nope' cannot be read: No such file"):
        Client("tls://127.0.0.1:1", secret=b"s" * 32, security=Security(tls_ca_file="/nope"))


def test_connecting_over_tcp_and_by_scheduler_file(tmp_path):
    from windrow import transport
    from windrow.runtime import LoopThread

    thread, links, secret = LoopThread(), [], b"s" * 32

    def accept(link):
        got = []
        links.append(got)
        link.on_batch = got.extend

    def receive(link):
        Reception(accept).accept(link)

    listener = thread.run(transport.listen("tcp://127.0.0.1:0", receive, secret=secret))
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": listener.address, "secret": secret.hex()}))
    for arguments in ({"address": listener.address, "secret": secret}, {"scheduler_file": str(file)}):
        client = Client(**arguments)
        client.submit(inc, 1)
        client.close()
        got = links[-1]
        until(lambda got=got: isinstance(got[-1], m.Close))
        kinds = [type(x) for x in got if not isinstance(x, m.Release)]
        assert kinds == [m.HelloClient, m.Call, m.Declare, m.Submit, m.Close]
    thread.run(_close(listener))
    thread.stop()


async def _close(listener):
    listener.close()


# ---------------------------------------------------------------- being found


def test_default_client(fake):
    with Client(fake) as first:
        assert default_client() is first
        with Client(fake) as second, Client(fake, set_as_default=False) as third:
            assert default_client() is Client.current() is second
            assert default_client(first) is first
            with third.as_current():
                assert Client.current(allow_global=False) is third
            assert Client.current() is second
            with pytest.raises(ValueError, match="no client"):
                Client.current(allow_global=False)
        assert default_client() is first
    with pytest.raises(ValueError, match="no client"):
        default_client()


# ---------------------------------------------------------------- closing


def test_closing(fake):
    client = Client(fake)
    pending = client.submit(inc, 1)
    client.close()
    client.close()
    assert (client.status, pending.status) == ("closed", "cancelled")
    assert isinstance(fake.got[-1], m.Close)
    assert fake.lost == [""]
    assert repr(client) == "<Client: No scheduler connected>"
    for call in (
        lambda: client.submit(inc, 1),
        lambda: client.map(inc, [1]),
        client.who_has,
        lambda: client.scatter(1),
    ):
        with pytest.raises(ClosedClientError, match="the client was closed"):
            call()


def test_closing_after_the_loop_is_gone(fake):
    client = Client(fake)
    future = client.submit(inc, 1)
    fake.stop()
    client.close()
    assert (client.status, future.status) == ("closed", "cancelled")
    del future


def test_closing_while_somebody_else_stops_the_loop(fake, monkeypatch):
    client, errors = Client(fake), []
    future = client.submit(inc, 1)
    # The goodbye waits for the end of the link, so that the loop stops in the middle of it.
    monkeypatch.setattr(type(client.session._link), "close", lambda link: None)

    def close():
        try:
            client.close()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    until(lambda: client.status == "closed")
    fake.stop()
    thread.join(5)
    assert (thread.is_alive(), errors, future.status) == (False, [], "cancelled")


def test_a_callback_may_close_the_client(fake):
    client, closed = Client(fake), threading.Event()
    future = client.submit(inc, 1)
    future.add_done_callback(lambda future: (client.close(), closed.set()))
    fake.finish({future.key: 1})
    assert closed.wait(5)


def test_shutdown(fake):
    client = Client(fake)
    client.shutdown()
    assert (client.status, fake.closed) == ("closed", 1)


def test_a_script_that_forgets_to_close_ends_quietly():
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from fake_scheduler import FakeScheduler
from windrow.client import Client
fake = FakeScheduler()
class Own:
    def __call__(self, **kwargs): return fake
import windrow.client.client as module
module.set_cluster_factory(Own())
client = Client()
futures = client.map(len, ["a", "bc"])
futures[0].add_done_callback(print)
sys.stdout.write("closed later" if fake.closed == 0 else "?")
import atexit
"""
    here = str(__import__("pathlib").Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("closed later")


# ---------------------------------------------------------------- questions


def test_information(client, fake):
    fake.replies[r.WhoHas] = lambda request: m.Reply(0, {key: ["w"] for key in request.keys or ["all"]})
    fake.replies[r.HasWhat] = lambda request: m.Reply(0, {name: ["k"] for name in request.workers or ["all"]})
    fake.replies[r.Processing] = lambda request: m.Reply(0, {name: [] for name in request.workers or ["all"]})
    future = client.submit(inc, 1, key="x")
    assert client.who_has() == {"all": ["w"]}
    assert client.who_has([future]) == {"x": ["w"]}
    assert client.has_what() == {"all": ["k"]}
    assert client.has_what("a") == {"a": ["k"]}
    assert client.processing(["a"]) == {"a": []}
    assert client.nthreads() == client.ncores() == {"tcp://127.0.0.1:4000": 2, "tcp://127.0.0.1:4001": 2}
    assert client.nthreads([1]) == {"tcp://127.0.0.1:4001": 2}
    assert client.scheduler_info() == identity()
    assert len(client.scheduler_info(n_workers=1)["workers"]) == 1
    assert repr(client) == "<Client: 'tcp://127.0.0.1:8786' processes=2 threads=4, memory=2.00 GiB>"


def test_wait_for_workers(client, fake):
    counts = [0, 1, 2]
    fake.replies[r.Identity] = lambda request: m.Reply(0, identity(counts.pop(0)))
    client.wait_for_workers(2, timeout=timedelta(seconds=5))
    assert counts == []
    fake.replies[r.Identity] = lambda request: m.Reply(0, identity(1))
    with pytest.raises(WorkerStartTimeoutError, match="1 of 2 workers"):
        client.wait_for_workers(2, timeout=0.03)
    with pytest.raises(ValueError, match="n_workers"):
        client.wait_for_workers(0)


def test_an_error_in_a_reply_is_raised(client, fake):
    fake.replies[r.WhoHas] = lambda request: m.Reply(0, error=payload.dumps(PermissionError("not for you")))
    fake.replies[r.HasWhat] = lambda request: m.Reply(0, error=failure.dump(LookupError("who"))[0])
    with pytest.raises(PermissionError, match="not for you"):
        client.who_has()
    with pytest.raises(LookupError, match="who"):
        client.has_what()


def test_run(client, fake):
    def answer(request):
        function, args, kwargs = payload.loads(request.call)
        good = payload.dumps((True, function(*args, **kwargs)))
        bad = payload.dumps((False, failure.dump(ValueError("no"))[0]))
        return m.Reply(0, ["a", "b"], [good, bad if "b" in (request.workers or ["b"]) else good])

    fake.replies[r.RunFunction] = answer
    assert client.run(inc, 1, workers=[0]) == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match="no"):
        client.run(inc, 1)
    assert client.run(inc, x=1, on_error="ignore") == {"a": 2}
    assert repr(client.run(inc, 1, on_error="return")["b"]) == "ValueError('no')"
    assert client.run(inc, 1, wait=False) is None
    with pytest.raises(ValueError, match="on_error"):
        client.run(inc, 1, on_error="shrug")
    with pytest.raises(TypeError, match="function"):
        client.run(5)
    fake.replies[r.RunFunction] = lambda request: m.Reply(0, ["a"], [None])
    with pytest.raises(WindrowError, match="worker left"):
        client.run(inc, 1)


def test_run_on_scheduler(client, fake):
    def answer(request):
        function, args, kwargs = payload.loads(request.call)
        return m.Reply(0, None, [payload.dumps((True, function(*args, **kwargs)))])

    fake.replies[r.RunOnScheduler] = answer
    assert client.run_on_scheduler(inc, 1) == 2
    fake.replies[r.RunOnScheduler] = lambda request: m.Reply(
        0, None, [payload.dumps((False, failure.dump(ValueError("no"))[0]))]
    )
    with pytest.raises(ValueError, match="no"):
        client.run_on_scheduler(inc, 1)


def test_restart(client, fake):
    future = client.submit(inc, 1, key="x")
    counts = [0, 2]
    fake.replies[r.Restart] = lambda request: m.Reply(0, 2)
    fake.replies[r.Identity] = lambda request: m.Reply(0, identity(counts.pop(0) if counts else 2))
    client.restart()
    assert counts == []
    assert future.status == "cancelled"
    assert client.submit(inc, 1, key="x").status == "pending"
    fake.replies[r.Restart] = lambda request: m.Reply(0, 3)
    with pytest.raises(TimeoutError, match="2 of 3 workers"):
        client.restart(timeout=0.03)


def test_workers_that_are_not_there_are_named(client, fake):
    words = "there is no 'nosuch'. The workers that are there: 0 at tcp://127.0.0.1:4000, 1 at tcp://127.0.0.1:4001."
    for call in (
        lambda: client.run(inc, 1, workers=["nosuch"]),
        lambda: client.retire_workers([0, "nosuch"]),
        lambda: client.scatter("x", workers="nosuch"),
        lambda: client.scatter({"a": 1}, workers=["nosuch", 1]),
    ):
        with pytest.raises(ValueError, match=re.escape(f"workers: {words}")):
            call()
    assert fake.of(r.RunFunction) == fake.of(r.Retire) == fake.of(r.Scatter) == []
    assert client.futures == {}
    fake.replies[r.Scatter] = lambda request: m.Reply(0)
    first, second = identity()["workers"]
    for names, addresses in (
        (0, [first]),
        (["1", second], [second]),
        ("127.0.0.1", [first, second]),
        ([], []),
    ):
        client.scatter("x", workers=names, hash=False)
        assert fake.of(r.Scatter)[-1].workers == addresses
    fake.replies[r.Identity] = lambda request: m.Reply(0, identity(30))
    with pytest.raises(ValueError, match=r"19 at tcp://127\.0\.0\.1:4019 and 10 more"):
        client.retire_workers("nosuch")


def test_retire_workers(client, fake):
    address = "tcp://127.0.0.1:4000"
    fake.replies[r.Retire] = lambda request: m.Reply(0, [address])
    assert client.retire_workers([0]) == {address: identity()["workers"][address]}
    assert fake.of(r.Retire) == [r.Retire([address])]


# ---------------------------------------------------------------- scatter


def test_scatter_shapes(client, fake):
    fake.replies[r.Scatter] = lambda request: m.Reply(0)
    one = client.scatter("x")
    assert (one.status, one.key[:4]) == ("finished", "str-")
    many = client.scatter([1, 2, 1])
    assert [type(many), len(many)] == [list, 3]
    assert many[0].entry is many[2].entry
    assert set(client.scatter({"a": 1, "b": 2})) == {"a", "b"}
    assert type(client.scatter((1,))) is tuple
    assert type(client.scatter({5})) is set
    assert type(client.scatter(range(2))) is list
    with pytest.raises(TypeError, match="scatter needs values at hand"):
        client.scatter(iter([1]))


def test_scatter_sends_each_value_once(client, fake):
    fake.replies[r.Scatter] = lambda request: m.Reply(0)
    first = client.scatter([1, "x"], workers=[1], broadcast=2)
    second = client.scatter(["x"], hash=True)
    third = client.scatter("x", hash=False)
    assert second[0].entry is first[1].entry
    assert third.key != first[1].key
    requests = fake.of(r.Scatter)
    assert [len(request.keys) for request in requests] == [2, 1]
    assert (requests[0].workers, requests[0].copies) == (["tcp://127.0.0.1:4001"], 2)
    assert [payload.loads(blob) for blob in requests[0].values] == [1, "x"]
    assert [payload.loads(blob) for blob in requests[0].types] == [int, str]


def test_scatter_that_is_late_releases_what_it_sent(client, fake):
    with pytest.raises(TimeoutError, match="scatter"):
        client.scatter({"a": 1}, timeout=0.01)
    assert fake.wait_for(m.Cancel)[0].keys == ["a"]
    assert client.futures == {}
    with pytest.raises(ValueError, match="broadcast"):
        client.scatter(1, broadcast=-1)


def test_a_scattered_future_is_an_input(client, fake):
    fake.replies[r.Scatter] = lambda request: m.Reply(0)
    data = client.scatter([1, 2, 3])
    client.submit(sum, data)
    assert fake.wait_for(m.Submit)[0].inputs == [[future.key for future in data]]


def test_several_fakes_do_not_mix(fake):
    other = FakeScheduler()
    with Client(fake) as a, Client(other) as b:
        future = a.submit(inc, 1)
        for call in (
            lambda: b.submit(inc, future),
            lambda: b.submit(inc, x={"deep": [future]}),
            lambda: b.map(inc, [1, future]),
            lambda: b.map(inc, [1], x=future),
        ):
            with pytest.raises(ValueError, match=f"belongs to another client, {a.id}, and this is {b.id}"):
                call()
        with pytest.raises(ValueError, match="has no client"):
            a.submit(inc, Future.unbound("far"))
    other.stop()

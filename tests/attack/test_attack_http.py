"""Who comes to a dashboard with bad intent: he holds little, sees nothing without a token, and keeps nobody out."""

from __future__ import annotations

import ast
import asyncio
import inspect
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_help import until, until_closed
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

import windrow.observe
from windrow import LocalCluster
from windrow.observe import house
from windrow.observe.app import Site, make_app
from windrow.observe.house import House
from windrow.runtime import LoopThread


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Place:
    """A house on a loop of its own."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread
        self.server: House
        self.port = thread.run(self._open())

    async def _open(self) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.server = House(Application([("/", Hello)]))
        self.server.add_sockets([listening])
        return int(listening.getsockname()[1])

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(host, 0))

    def ask(self, question: bytes) -> bytes:
        endpoint = self.connect()
        endpoint.sendall(question)
        return until_closed(endpoint)

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(house, "CONNECTIONS_MAX", 20)
    monkeypatch.setattr(house, "PATIENCE_S", 0.3)
    thread = LoopThread("house")
    found = Place(thread)
    yield found
    thread.run(found.close())
    thread.stop()


GET = b"GET / HTTP/1.0\r\n\r\n"


def test_it_answers(place: Place) -> None:
    assert place.ask(GET).endswith(b"hello")


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-More: ", b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nx"],
    ids=["nothing", "half a line", "half a header", "half a body"],
)
def test_who_does_not_get_on_with_it_is_let_go(place: Place, said: bytes) -> None:
    endpoint = place.connect()
    endpoint.sendall(said)
    until_closed(endpoint)  # by itself, and not after an hour


def test_a_byte_now_and_then_is_not_getting_on_with_it(place: Place) -> None:
    endpoint = place.connect()
    sent = 0
    with pytest.raises(OSError):  # noqa: PT012
        while True:
            endpoint.sendall(b"a")
            sent += 1
            endpoint.settimeout(0.02)
            try:
                if not endpoint.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                pass
    assert sent < 100
    endpoint.close()


@pytest.mark.parametrize(
    "question",
    [
        b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4294967296\r\n\r\n" + b"x" * 1000,
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01" + bytes(400) + b"\r\n\r\n",
        b"\r\n\r\n" * 100,
    ],
    ids=["header", "path", "body", "negative", "tls", "empty"],
)
def test_too_much_and_noise(place: Place, question: bytes) -> None:
    said = place.ask(question)
    assert len(said) < 1000
    assert not said.endswith(b"hello")
    assert place.ask(GET).endswith(b"hello")


def test_many_silent_ones_keep_nobody_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.server.conn_params.header_timeout = 60.0  # not by the time that they take
    other = place.connect("127.0.0.2")
    asked = place.connect()
    asked.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert asked.recv(1000).endswith(b"hello")
    crowd = [place.connect() for _ in range(100)]
    assert place.ask(GET).endswith(b"hello")
    assert place.server.connections <= house.CONNECTIONS_MAX
    for kept in (other, asked):  # that of an address with few, and the one that had a question
        kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(1000).endswith(b"hello")
    for endpoint in (*crowd, other, asked):
        endpoint.close()
    until(lambda: place.server.connections == 0)


# ---------------------------------------------------------------- tokens and websockets of the real application


@pytest.fixture(scope="module")
def behind_a_token(runtime_directory: Path) -> Iterator[LocalCluster]:
    """A dashboard that other machines reach."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address="0.0.0.0:0") as cluster:
        yield cluster


def status_of(link: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(link, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def local(cluster: LocalCluster) -> tuple[str, str]:
    """Return the root of a dashboard as this machine reaches it, and its token."""
    link, _, token = cluster.dashboard_link.partition("?token=")
    port = link.removesuffix("/status").rpartition(":")[2]
    return f"http://127.0.0.1:{port}", token


def test_without_the_token_nothing_is_seen(behind_a_token: LocalCluster) -> None:
    root, token = local(behind_a_token)
    assert len(token) >= 32
    paths = ["/", "/status", "/metrics", "/sitemap.json", "/json/identity.json", "/eventstream", "/no/such/path"]
    for path in [*paths, "/api/v1/get_workers"]:
        for tried in ("", "?token=", f"?token={token[:-1]}", f"?token={token}x", "?token=%00", "?token=%F0%9F%A6%86"):
            assert status_of(f"{root}{path}{tried}") == 401, f"{path}{tried}"
        assert status_of(f"{root}{path}", Authorization="Bearer wrong") == 401
        assert status_of(f"{root}{path}", Cookie="windrow-0=wrong") == 401
    assert status_of(f"{root}/status?token={token}") == 200
    assert status_of(f"{root}/status", Authorization=f"Bearer {token}") == 200


def test_tokens_are_compared_in_constant_time() -> None:
    """By no ``==`` and no ``in``, anywhere in what answers on a dashboard's address."""
    words = {"token", "held", "secret", "shown", "watch", "bearer"}
    looked_at = 0
    for path in Path(inspect.getfile(windrow.observe)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq | ast.In) for op in node.ops):
                looked_at += 1
                named = {
                    str(getattr(inner, "id", getattr(inner, "attr", "")))
                    for side in (node.left, *node.comparators)
                    for inner in [side.func if isinstance(side, ast.Call) else side]
                }
                assert not named & words, f"{path.name}:{node.lineno} compares {named & words}: use hmac.compare_digest"
    assert looked_at > 20
    app = (Path(inspect.getfile(windrow.observe)).parent / "app.py").read_text()
    assert app.count("hmac.compare_digest(") >= 2


def websockets() -> list[tuple[str, type[WebSocketHandler]]]:
    """Return each websocket that the application has, by its path."""

    async def make() -> list[tuple[str, type[WebSocketHandler]]]:
        found = []
        for party in ("scheduler", "worker"):
            app = make_app(Site(source=None, token="x", port=1), party)  # type: ignore[arg-type]
            for rule in app.wildcard_router.rules:
                if inspect.isclass(rule.target) and issubclass(rule.target, WebSocketHandler):
                    found.append((rule.matcher.regex.pattern, rule.target))
        return found

    return asyncio.run(make())


def test_every_websocket_asks_for_a_token_and_our_own_pages(behind_a_token: LocalCluster) -> None:
    root, token = local(behind_a_token)
    port = int(root.rpartition(":")[2])

    def shake(path: str, origin: str) -> bytes:
        endpoint = socket.create_connection(("127.0.0.1", port), timeout=10)
        endpoint.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Origin: {origin}\r\n\r\n".encode()
        )
        line = endpoint.recv(4096).split(b"\r\n")[0]
        endpoint.close()
        return line

    found = [path.rstrip("$") for path, _ in websockets()]
    assert "/eventstream" in found
    for path in found:
        assert b" 401 " in shake(path, root), f"{path} without a token"
        if path != "/eventstream":  # a plot's session has a token of its own, in the websocket's protocol
            assert b" 101 " not in shake(f"{path}?token={token}", "http://evil.example")
            continue
        assert b" 403 " in shake(f"{path}?token={token}", "http://evil.example")
        assert b" 101 " in shake(f"{path}?token={token}", root)


def test_the_dashboard_tells_nobody_its_token(behind_a_token: LocalCluster) -> None:
    root, token = local(behind_a_token)
    for path in ("/status", "/sitemap.json", "/json/identity.json", "/info/main/workers.html", "/health"):
        request = urllib.request.Request(f"{root}{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert token.encode() not in answer.read()
            assert answer.headers["Referrer-Policy"] == "no-referrer"

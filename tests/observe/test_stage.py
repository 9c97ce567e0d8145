"""Pages with plots over HTTP and websockets, without a browser: opened, fed, let go, refused."""

from __future__ import annotations

import asyncio
import gc
import html
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.protocol import Protocol
from bokeh.protocol.receiver import Receiver
from bokeh.server.session import ServerSession
from observe_help import FakeSource, serving, snapshot
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

from windrow.observe import scenes, source, stage
from windrow.observe.absent import ABSENT
from windrow.observe.plots.catalogue import PAGES, PLOTS
from windrow.observe.plots.draw import Drawing

LIMIT_S = 20.0
PATHS = [*PAGES, *(f"individual-{name}" for name in PLOTS)]


async def get(url: str, **headers: str) -> HTTPResponse:
    client = AsyncHTTPClient()
    return await client.fetch(HTTPRequest(url, headers=headers, request_timeout=LIMIT_S), raise_error=False)


class Visitor:
    """What BokehJS is to a page: its document, kept up to date by the websocket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.document = Document()
        self._receiver = Receiver(Protocol())

    async def next(self) -> Any:
        async with asyncio.timeout(LIMIT_S):
            while True:
                fragment = await self.socket.read_message()
                assert fragment is not None, "the websocket is closed"
                message = await self._receiver.consume(fragment)
                if message is not None:
                    return message

    async def pull(self) -> None:
        assert (await self.next()).msgtype == "ACK"
        ask = Protocol().create("PULL-DOC-REQ")
        for part in (ask.header_json, ask.metadata_json, ask.content_json):
            await self.socket.write_message(part)
        while (reply := await self.next()).msgtype != "PULL-DOC-REPLY":
            pass  # a patch that came before: it is in the document
        reply.push_to_document(self.document)

    async def choose(self, figure: str, start: float, stop: float) -> None:
        """Say what BokehJS says when a range was chosen."""
        geometry = {"type": "map", "entries": [["x0", start], ["x1", stop]]}
        [model] = [root for root in self.document.roots if root.name == figure]
        values = {"type": "map", "entries": [["model", {"id": model.id}], ["geometry", geometry], ["final", True]]}
        event = {"type": "event", "name": "selectiongeometry", "values": values}
        content = {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}]}
        for part in ({"msgid": "1", "msgtype": "PATCH-DOC"}, {}, content):
            await self.socket.write_message(json.dumps(part))

    async def patched(self) -> None:
        message = await self.next()
        assert message.msgtype == "PATCH-DOC"
        message.apply_to_document(self.document)

    def columns(self, name: str) -> Any:
        return self.document.get_model_by_name(name).data


@asynccontextmanager
async def visiting(url: str, path: str, query: str = "") -> AsyncIterator[Visitor]:
    answer = await get(f"{url}/{path}/session?{query}")
    assert answer.code == 200, answer.body
    token = json.loads(answer.body)["token"]
    socket = await websocket_connect(f"{url.replace('http', 'ws')}/{path}/ws", subprotocols=["bokeh", token])
    visitor = Visitor(socket)
    try:
        await visitor.pull()
        yield visitor
    finally:
        socket.close()


def test_every_path_answers_with_a_page_that_has_a_place_for_each_of_its_plots() -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _):
            listed = json.loads((await get(f"{url}/sitemap.json")).body)["paths"]
            for path in PATHS:
                assert f"/{path}" in listed
                answer = await get(f"{url}/{path}")
                text = answer.body.decode()
                assert answer.code == 200
                assert "statics/bokeh/bokeh.min.js?v=" in text
                assert "cdn" not in text
                assert "unsafe-eval" not in answer.headers["Content-Security-Policy"]
                for name in scenes.page_of(path).plots:  # type: ignore[union-attr]
                    assert f'id="{name}"' in text
            [icon] = re.findall(r'rel="icon" href="\./([^"]+)"', text)
            assert (await get(f"{url}/{icon}")).headers["Content-Type"] == "image/svg+xml"
            plots = json.loads((await get(f"{url}/individual-plots.json")).body)
            assert {f"/individual-{name}" for name in PLOTS} == set(plots.values())

    asyncio.run(main())


def test_what_is_not_there_says_where_to_look_and_that_is_there() -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _):
            listed = json.loads((await get(f"{url}/sitemap.json")).body)["paths"]
            for path, (title, words, instead) in ABSENT.items():
                answer = await get(f"{url}/{path}")
                text = html.unescape(answer.body.decode())
                assert (answer.code, title in text, words in text) == (404, True, True)
                assert f"/{path}" not in listed
                assert {f"/{other}" for other in instead} <= set(listed)
                assert all(f'href="./{other}"' in text for other in instead)

    asyncio.run(main())


DASKS = """
status workers tasks system gpu profile profile-server graph groups exceptions stealing events counters hardware
shuffle individual-task-stream individual-progress individual-graph individual-groups individual-group-progress
individual-workers-memory individual-cluster-memory individual-workers-transfer-bytes individual-cpu
individual-nprocessing individual-occupancy individual-workers individual-exceptions individual-bandwidth-types
individual-bandwidth-workers individual-workers-network individual-workers-disk
individual-workers-network-timeseries individual-workers-cpu-timeseries individual-workers-memory-timeseries
individual-workers-disk-timeseries individual-memory-by-key individual-compute-time-per-key
individual-aggregate-time-per-action individual-scheduler-system individual-contention
individual-fine-performance-metrics individual-profile individual-profile-server individual-gpu-memory
individual-gpu-utilization individual-rmm-memory
"""


def test_each_name_of_dasks_is_there_or_has_an_answer() -> None:
    assert [path for path in DASKS.split() if path not in PATHS and path not in ABSENT] == []


@pytest.mark.parametrize("path", [*PAGES, "individual-progress"])
def test_the_document_of_a_page_has_its_plots_but_those_behind_tabs(path: str) -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _), visiting(url, path) as visitor:
            named = {str(root.name).partition(":")[0] for root in visitor.document.roots}
            page = scenes.page_of(path)
            assert page is not None
            assert named == {place[0] for place in page.places}

    asyncio.run(main())


def test_without_prometheus_client_a_monitor_hears_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _):
            monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
            answer = await get(f"{url}/metrics")
            assert (answer.code, b"pip install prometheus_client" in answer.body) == (501, True)

    asyncio.run(main())


def test_bokehjs_comes_from_here_and_is_kept_by_browsers() -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot()), prefix="/foo") as (url, _):
            text = (await get(f"{url}/status")).body.decode()
            [path] = re.findall(r'src="\./(statics/bokeh/[^"]+)"', text)
            answer = await get(f"{url}/{path}")
            assert answer.code == 200
            assert len(answer.body) > 500_000
            assert "max-age" in answer.headers["Cache-Control"]
            assert (await get(f"{url}/statics/bokeh/bokeh.js")).code == 404

    asyncio.run(main())


def test_what_changes_is_sent_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PERIOD_MS", 20)
    monkeypatch.setattr(source, "FRESH_S", 0.0)

    async def main() -> None:
        fake = FakeSource(snapshot())
        async with serving(fake) as (url, _), visiting(url, "individual-progress") as visitor:
            assert visitor.columns("progress:texts")["text"] == ["30 / 40"]
            before = fake.asked
            while fake.asked < before + 5:  # nothing happens for some rounds
                await asyncio.sleep(0.01)
            fake.found = snapshot(prefixes={"inc": {"memory": 40}})
            await visitor.patched()  # and the first that is sent is of the change
            assert visitor.columns("progress:texts")["text"] == ["40 / 40"]
            assert len(visitor.columns("progress:boxes")["left"]) == 1, "boxes and texts come in one patch"

    asyncio.run(main())


def test_however_many_pages_are_open_the_scheduler_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PERIOD_MS", 20)

    async def main() -> None:
        fake = FakeSource(snapshot())
        async with serving(fake) as (url, site):
            touched = site.last_asked_s
            async with visiting(url, "status"), visiting(url, "workers"), visiting(url, "individual-cpu"):
                assert site.stage is not None
                assert site.stage.documents == 3
                while site.last_asked_s < touched + 1.1:
                    await asyncio.sleep(0.02)
                assert 1 <= fake.asked <= 4  # of snapshots: at most once a second each for the two facts that need one

    asyncio.run(main())


def test_documents_of_closed_pages_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "UNUSED_S", 0.2)
    monkeypatch.setattr(stage, "CHECK_MS", 50)

    def alive() -> int:
        gc.collect()
        return sum(type(each) in (ServerSession, Drawing) for each in gc.get_objects())

    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, site):
            assert site.stage is not None

            async def visit(path: str) -> None:
                async with visiting(url, path):
                    assert site.stage is not None
                    assert site.stage.documents

            for paths in [["individual-progress"] * 5, *[["exceptions"] * 15] * 3]:
                await asyncio.gather(*map(visit, paths))
            async with asyncio.timeout(LIMIT_S):
                while site.stage.documents or alive():
                    await asyncio.sleep(0.05)

    gc.collect()
    gc.freeze()  # Bokeh collects garbage for each document that goes: of what comes from here on
    try:
        asyncio.run(main())
    finally:
        gc.unfreeze()


def test_a_token_is_asked_for_where_a_session_is_and_the_websocket_asks_for_the_sessions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "tornado")

    async def main() -> None:
        async with serving(FakeSource(snapshot()), token="s3cret") as (url, site):
            for path in ("status", "status/session", "individual-plots.json"):
                assert (await get(f"{url}/{path}")).code == 401
                assert (await get(f"{url}/{path}", Authorization="Bearer s3cret")).code == 200
            async with visiting(url, "status", "token=s3cret") as visitor:  # no cookie, as in a frame
                assert visitor.document.roots
            from bokeh.util.token import generate_jwt_token, generate_session_id

            made_up = generate_jwt_token(generate_session_id())
            where = f"{url.replace('http', 'ws')}/status/ws"
            socket = await websocket_connect(where, subprotocols=["bokeh", made_up])
            assert await socket.read_message() is None
            assert site.stage is not None
            assert site.stage.documents == 2  # that of the visitor, and that of the first request

    asyncio.run(main())


def test_of_a_stream_only_what_is_new_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PERIOD_MS", 20)
    monkeypatch.setattr(source, "FRESH_S", 0.0)

    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _), visiting(url, "individual-task-stream") as visitor:
            before = list(visitor.columns("task-stream:boxes")["link"])
            assert "info/task/inc-0.html" in before
            message = await visitor.next()
            assert [event["kind"] for event in message.content["events"]] == ["ColumnsStreamed"]
            message.apply_to_document(visitor.document)
            after = list(visitor.columns("task-stream:boxes")["link"])
            assert after[: len(before)] == before
            assert len(after) > len(before)
            assert len(set(after)) == len(after), "none is sent twice"

    asyncio.run(main())


def test_a_chosen_range_of_time_is_what_a_profile_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PERIOD_MS", 20)

    async def main() -> None:
        fake = FakeSource(snapshot())
        async with serving(fake) as (url, _), visiting(url, "profile") as visitor:
            await visitor.choose("profile-times", 2_000_000.0, 3_000_000.0)
            async with asyncio.timeout(LIMIT_S):
                while (fake.profiles[-1].start, fake.profiles[-1].stop) != (2000.0, 3000.0):
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_websocket_that_comes_late_has_its_document_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "UNUSED_S", 0.001)
    monkeypatch.setattr(stage, "CHECK_MS", 10)
    monkeypatch.setattr(stage, "PERIOD_MS", 20)

    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, site):
            token = json.loads((await get(f"{url}/individual-progress/session")).body)["token"]
            assert site.stage is not None
            async with asyncio.timeout(LIMIT_S):
                while site.stage.documents:
                    await asyncio.sleep(0.01)
            where = f"{url.replace('http', 'ws')}/individual-progress/ws"
            visitor = Visitor(await websocket_connect(where, subprotocols=["bokeh", token]))
            await visitor.pull()
            while not visitor.columns("progress:texts")["text"]:
                await visitor.patched()
            visitor.socket.close()

    asyncio.run(main())


def test_light_and_dark() -> None:
    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, _):
            found = []
            for scheme in ("light", "dark"):
                async with visiting(url, "individual-progress", f"scheme={scheme}") as visitor:
                    [root] = visitor.document.roots
                    found.append(root.xaxis[0].major_label_text_color)
            assert found == ["#5b6470", "#9aa4b1"]

    asyncio.run(main())


def test_without_bokeh_plain_pages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "BOKEH", None)

    async def main() -> None:
        async with serving(FakeSource(snapshot())) as (url, site):
            assert site.stage is None
            status = (await get(f"{url}/status")).body.decode()
            assert 'id="workers"' in status
            memory = (await get(f"{url}/memory")).body.decode()
            for text in (status, memory):
                assert "windrow[dashboard]" in text
            assert (await get(f"{url}/workers")).effective_url == f"{url}/info/main/workers.html"
            assert json.loads((await get(f"{url}/individual-plots.json")).body) == {}
            assert (await get(f"{url}/status/session")).code == 404

    asyncio.run(main())


def test_a_bokeh_that_is_too_old_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.find_bokeh() is not None
    monkeypatch.setattr(stage, "version", lambda name: "2.4.3")
    assert stage.find_bokeh() is None
    monkeypatch.setattr(stage, "find_spec", lambda name: None)
    assert stage.find_bokeh() is None

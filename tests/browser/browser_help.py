"""A headless browser, a cluster that works while it is looked at, and a proxy that has a path of its own."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from windrow import Client, LocalCluster

LIMIT_S = 40.0

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def need_browser() -> tuple[str, str]:
    """Where the browser and its driver are; without them the test is skipped, and says why."""
    pytest.importorskip("selenium", reason="selenium is not installed: make test-browser installs it")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("there is no chromium with chromedriver: on Debian, apt-get install chromium chromium-driver")
    return browser, driver


@contextmanager
def browsing(folder: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Browser]:
    """Run a browser of its own profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = need_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    try:
        yield Browser(started)
    finally:
        started.quit()


class Browser:
    """What tests do with a page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def ask(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any, limit_s: float = LIMIT_S) -> Any:
        """Wait until a script has something to say."""
        end = time.monotonic() + limit_s
        while not (found := self.ask(script, *arguments)):
            assert time.monotonic() < end, f"{script} at {self.driver.current_url}: {self.text()[:500]}"
            time.sleep(0.05)
        return found

    def open(self, url: str) -> float:
        """Open a page with plots; how many seconds later it was drawn. Complaints of pages before are forgotten."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(url)
        return float(self.until("return document.body.dataset.drawn")) / 1e3

    def text(self) -> str:
        """What the page says."""
        return str(self.ask("return document.body.innerText"))

    def click(self, selector: str, place: int = 0) -> None:
        """Click on an element, where it is."""
        from selenium.webdriver.common.by import By

        self.driver.find_elements(By.CSS_SELECTOR, selector)[place].click()

    def click_at(self, plot: str, x: float, y: float) -> None:
        """Click on a point of a plot, in the plot's own measures."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        left, top = self.until(POINT, plot, x, y)
        element = self.driver.find_element(By.ID, plot)
        size = element.size
        place = (left - size["width"] / 2, top - size["height"] / 2)
        ActionChains(self.driver).move_to_element_with_offset(element, *map(int, place)).click().perform()

    def wheel_at(self, plot: str, notches: int) -> None:
        """Turn the wheel near the right edge of a plot; forwards (negative) looks closer."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
        from selenium.webdriver.common.by import By

        element = self.driver.find_element(By.ID, plot)
        origin = ScrollOrigin.from_element(element, int(element.size["width"] * 0.47))
        ActionChains(self.driver).scroll_from_origin(origin, 0, 120 * notches).perform()

    def columns(self, source: str) -> Any:
        """The columns of a source of the page's document."""
        return self.ask(COLUMNS, source)

    def complaints(self) -> list[str]:
        """What the console has said that is bad."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


COLUMNS = """
const source = Bokeh.documents.map((each) => each.get_model_by_name(arguments[0])).find(Boolean);
return Object.fromEntries(Object.entries(source.data).map(([name, column]) => [name, Array.from(column)]));
"""

POINT = """
const view = Array.from(Bokeh.index.roots).find((view) => view.model.name == arguments[0]);
const x = view.frame.x_scale.compute(arguments[1]), y = view.frame.y_scale.compute(arguments[2]);
if (!Number.isFinite(x) || !Number.isFinite(y)) return null;
return [x, y];
"""


class Work(threading.Thread):
    """Has a cluster work, as somebody would who looks at its dashboard."""

    def __init__(self, client: Client) -> None:
        super().__init__(name="work", daemon=True)
        self.client = client
        self.ended = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        import dask.array as da

        while not self.ended.is_set():
            self.rounds += 1
            x = da.random.random((3000, 3000), chunks=(500, 500))
            table = self.client.compute((x + x.T - x.mean(axis=0)).sum())
            loaded = self.client.map(load, range(40), pure=False)
            cleaned = self.client.map(clean, loaded)
            fitted = [self.client.submit(fit, *cleaned[at : at + 10]) for at in range(0, 40, 10)]
            self.client.log_event("training", {"round": self.rounds, "loss": round(1 / self.rounds, 3)})
            self.client.gather([table, *fitted])

    def stop(self) -> None:
        self.ended.set()
        self.join(LIMIT_S)


def load(number: int) -> int:
    time.sleep(0.03)
    return number


def clean(number: int) -> int:
    time.sleep(0.05)
    return number


def fit(*numbers: int) -> int:
    time.sleep(0.2)
    return sum(numbers)


def fail(text: str) -> None:
    raise ValueError(text)


@contextmanager
def proxied(port: int, path: str, script_s: float = 0.0) -> Iterator[str]:
    """Serve another port's pages below a path that they are not told of, as jupyter-server-proxy does.

    ``script_s`` is how long BokehJS takes on its way, as on a slow line.
    """

    class Pages(RequestHandler):
        async def get(self, rest: str) -> None:
            if "bokeh.min.js" in rest:
                await asyncio.sleep(script_s)
            where = f"http://127.0.0.1:{port}{(self.request.uri or '').removeprefix(path)}"
            asked = HTTPRequest(where, follow_redirects=False)
            answer = await AsyncHTTPClient().fetch(asked, raise_error=False)
            self.set_status(answer.code)
            for name in ("Content-Type", "Location", "Content-Security-Policy"):
                if name in answer.headers:
                    self.set_header(name, answer.headers[name])
            self.finish(answer.body)

    class Sockets(WebSocketHandler):
        other: Any

        def check_origin(self, origin: str) -> bool:
            return True

        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            self.asked = subprotocols
            return subprotocols[0]

        async def open(self, rest: str) -> None:  # type: ignore[override]
            where = f"ws://127.0.0.1:{port}/{rest}/ws"
            self.other = await websocket_connect(where, subprotocols=self.asked, on_message_callback=self.pass_back)

        def pass_back(self, message: Any) -> None:
            if message is None:
                self.close()
            else:
                self.write_message(message, isinstance(message, bytes))

        async def on_message(self, message: Any) -> None:
            await self.other.write_message(message, isinstance(message, bytes))

        def on_close(self) -> None:
            self.other.close()

    class Frame(RequestHandler):
        async def get(self) -> None:
            self.write(f"<iframe src='{self.get_query_argument('url')}' width=600 height=400></iframe>")

    started = threading.Event()
    found: dict[str, Any] = {}

    def serve() -> None:
        async def main() -> None:
            from tornado.testing import bind_unused_port

            sock, found["port"] = bind_unused_port()
            routes: list[Any] = [("/frame", Frame), (rf"{path}/(.*)/ws", Sockets), (rf"{path}/(.*)", Pages)]
            server = HTTPServer(Application(routes))
            server.add_socket(sock)
            found["loop"], found["ended"] = IOLoop.current(), asyncio.Event()
            started.set()
            await found["ended"].wait()
            server.stop()

        asyncio.run(main())

    thread = threading.Thread(target=serve, name="proxy", daemon=True)
    thread.start()
    assert started.wait(LIMIT_S)
    try:
        yield f"http://127.0.0.1:{found['port']}{path}"
    finally:
        found["loop"].add_callback(found["ended"].set)
        thread.join(LIMIT_S)


def opening_s(browser: Browser, url: str) -> float:
    """How long it takes to open a page, on a machine that others leave to us; elsewhere by how much of it we get."""
    before = processor_share()
    taken_s = browser.open(url)
    return taken_s * (before + processor_share()) / 2


def soonest_s(browser: Browser, url: str, tries: int = 6) -> float:
    """How long it takes at best to open a page; where it takes a second and more, it is tried again."""
    taken: list[float] = []
    while len(taken) < tries and min(taken, default=1.0) >= 1.0:
        taken.append(opening_s(browser, url))
    return min(taken)


def processor_share() -> float:
    """How much of a processor a thread gets that takes what it can."""
    wall_s, cpu_s = time.perf_counter(), time.thread_time()
    while time.perf_counter() - wall_s < 0.2:
        pass
    return (time.thread_time() - cpu_s) / (time.perf_counter() - wall_s)


def wait_until_ready(cluster: LocalCluster) -> None:
    """Wait until the dashboard's process has loaded what it needs, and has gone to sleep; it answers meanwhile."""
    health = cluster.dashboard_link.replace("status", "health")
    end = time.monotonic() + READY_S
    slept = False
    while not slept:
        assert time.monotonic() < end, "the dashboard does not get ready"
        pid = cluster.scheduler.dashboard.pid
        if pid is None or "_multiarray_umath" not in Path(f"/proc/{pid}/maps").read_text():
            time.sleep(0.1)
            continue
        asked = time.monotonic()
        with urllib.request.urlopen(health) as answer:
            assert answer.read() == b"ok"
        assert time.monotonic() - asked < 0.5
        process = psutil.Process(pid)
        before_s = sum(process.cpu_times()[:2])
        time.sleep(NAP_S)
        slept = sum(process.cpu_times()[:2]) - before_s < PACE * NAP_S / 2


READY_S = 120.0
NAP_S = 3.0
PACE = 0.02
"""How much of a processor it takes at least while it gets ready."""

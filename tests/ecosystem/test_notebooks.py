"""The dashboard in notebooks: behind jupyter-server-proxy, and in dask-labextension, which starts clusters as well."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from browser_help import Browser, browsing, need_browser

LIMIT_S = 300.0
TOKEN = "of-this-test"
CONFIG = """
labextension:
  factory:
    module: windrow
    class: LocalCluster
    args: []
    kwargs: {n-workers: 1, threads-per-worker: 1}
"""
pytestmark = pytest.mark.timeout(2 * LIMIT_S)

NEEDS = ["jupyter_server", "jupyter_server_proxy", "dask_labextension"]


class Jupyter:
    """A server of notebooks, as what asks it for something sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, method: str = "GET", **wanted: Any) -> Any:
        """Return what it answers."""
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        data = json.dumps(wanted).encode() if method in ("PUT", "PATCH") else None
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=LIMIT_S) as answer:
            said = answer.read().decode()
        return json.loads(said) if "json" in answer.headers.get("Content-Type", "") and said else said

    def until(self, path: str, holds: Any) -> Any:
        """Ask until the answer is as it should be."""
        end = time.monotonic() + LIMIT_S
        while not holds(said := self.ask(path)):
            assert time.monotonic() < end, said
            time.sleep(0.1)
        return said


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    missing = [module for module in NEEDS if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    home = tmp_path_factory.mktemp("jupyter")
    (home / "dask").mkdir()
    (home / "dask" / "labextension.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folders = ["HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_RUNTIME_DIR"]
    env = {**os.environ, "DASK_CONFIG": str(home / "dask"), **dict.fromkeys(folders, str(home))}
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"]
    with (home / "log").open("w") as log:
        command = [sys.executable, "-m", "windrow.dask", "-m", "jupyter_server", *options]
        process = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=subprocess.STDOUT)
    found = Jupyter(f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                found.ask("/api/status")
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < end, (home / "log").read_text()
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(LIMIT_S)


@pytest.fixture
def cluster(jupyter: Jupyter) -> Iterator[Any]:
    """A cluster that the extension has started."""
    started = jupyter.ask("/dask/clusters", "PUT")
    yield started
    jupyter.ask(f"/dask/clusters/{started['id']}", "DELETE")
    assert jupyter.ask("/dask/clusters") == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need_browser()
    with browsing(tmp_path_factory.mktemp("profile")) as started:
        yield started


def test_the_extension_starts_scales_and_adapts_a_cluster(jupyter: Jupyter, cluster: Any) -> None:
    assert (cluster["name"], cluster["workers"], cluster["cores"]) == ("LocalCluster 1", 1, 1)
    mine = f"/dask/clusters/{cluster['id']}"
    jupyter.ask(mine, "PATCH", workers=2)
    jupyter.until(mine, lambda said: said["workers"] == said["cores"] == 2)
    adapted = jupyter.ask(mine, "PATCH", adapt={"minimum": 1, "maximum": 2})
    assert adapted["adapt"] == {"minimum": 1, "maximum": 2}


def test_the_extension_finds_the_plots(jupyter: Jupyter, cluster: Any) -> None:
    said = jupyter.ask(f"/dask/dashboard-check/{quote(cluster['dashboard_link'], safe='')}")
    assert said["isActive"] is True
    assert said["plots"]["Individual Task Stream"] == "/individual-task-stream"
    for path in said["plots"].values():
        assert "<html" in jupyter.ask(f"/dask/dashboard/{cluster['id']}{path}")


def test_pages_live_behind_the_proxy(jupyter: Jupyter, cluster: Any, browser: Browser) -> None:
    port = re.search(r":(\d+)/", cluster["dashboard_link"])
    assert port is not None
    browser.open(f"{jupyter.url}/proxy/{port[1]}/status?token={TOKEN}")
    browser.until("return Bokeh.documents[0].roots().length")
    assert browser.complaints() == []
    browser.driver.refresh()
    browser.until("return document.body.dataset.drawn")


def test_plots_live_in_the_extensions_frames(jupyter: Jupyter, cluster: Any, browser: Browser) -> None:
    browser.driver.get(f"{jupyter.url}/none-such?token={TOKEN}")  # a page of its own, whatever is on it
    browser.complaints()
    page = f"{jupyter.url}/dask/dashboard/{cluster['id']}/individual-workers"
    browser.ask(FRAME, page)
    browser.until("return document.querySelector('iframe').contentDocument?.body?.dataset.drawn")
    browser.until("return document.querySelector('iframe').contentDocument.body.innerText.includes('tcp://')")
    assert browser.complaints() == []


FRAME = """
const frame = document.createElement("iframe");
frame.sandbox = "allow-scripts allow-same-origin";
frame.src = arguments[0];
frame.width = 800; frame.height = 400;
document.body.append(frame);
"""

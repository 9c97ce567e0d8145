"""A hundred workers and many tasks: each page opens as fast as ever, and the dashboard's process stays small.

With a million tasks, of which `docs/dashboard.md` has the figures:
``make test-browser PYTEST_ARGS="-k crowd --tasks 1000000 -s"``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browser_help import Browser, browsing, fail, need_browser, soonest_s

from windrow import Client, LocalCluster, wait
from windrow.observe.plots.catalogue import PAGES

WORKERS = 100
MEGABYTE = 1e6


def inc(number: int) -> int:
    return number + 1


def rest(number: int, *_: object) -> int:
    time.sleep(0.5)
    return number


@pytest.fixture(scope="module")
def client(pytestconfig: pytest.Config) -> Iterator[Client]:
    need_browser()
    count = int(pytestconfig.getoption("--tasks"))
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        with Client(cluster, set_as_default=False) as client:
            futures = client.map(inc, range(count), batch_size=10_000)
            wait(futures)
            erred = client.map(fail, ["boom"] * 20, pure=False)
            waiting = client.map(rest, range(100_000), pure=False)  # these go on as long as one looks
            yield client
            client.cancel(waiting)
            del futures, erred, waiting


@pytest.mark.timeout(3_000)
def test_a_crowd_slows_no_page_and_the_dashboard_stays_small(client: Client, tmp_path: Path) -> None:
    root = str(client.dashboard_link).removesuffix("/status")
    with browsing(tmp_path) as browser:
        counted(browser, root)
        process = psutil.Process(client.cluster.scheduler.dashboard.pid)  # type: ignore[union-attr]
        taken = {path: soonest_s(browser, f"{root}/{path}") for path in PAGES}
        once = process.memory_info().rss
        for path in PAGES:
            browser.open(f"{root}/{path}")
        again = process.memory_info().rss
    print("seconds until a page was drawn:", *(f"{path} {each:.2f}" for path, each in taken.items()))
    print(f"the dashboard's process: {once / MEGABYTE:.0f} MB, and {again / MEGABYTE:.0f} MB later")
    assert max(taken.values()) < 1.0
    assert again < 400 * MEGABYTE
    assert again - once < 60 * MEGABYTE


def counted(browser: Browser, root: str) -> None:
    """Wait until all tasks have been counted once."""
    browser.open(f"{root}/individual-progress")
    browser.until("return Bokeh.documents[0].get_model_by_name('progress:texts').data.text.length >= 3", limit_s=600.0)

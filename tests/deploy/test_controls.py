"""A cluster in a notebook with ipywidgets: what the buttons do, and that the table follows. No browser, no kernel."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from windrow import LocalCluster
from windrow.deploy.cluster import Cluster

LIMIT_S = 20.0


def until(condition: Callable[[], Any], what: str) -> None:
    end_s = monotonic() + LIMIT_S
    while not condition():
        assert monotonic() < end_s, f"not within {LIMIT_S:g} s: {what}"
        sleep(0.01)


@pytest.fixture
def _notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr("windrow.client.displays.in_kernel", lambda: True)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster


def shown(cluster: Cluster) -> Any:
    bundle = cluster._repr_mimebundle_()
    controls = cluster._controls
    assert controls is not None
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == controls.widget.model_id
    assert bundle["text/plain"] == repr(cluster), "who shows no widgets shows the text, or the table"
    assert bundle["text/html"] == cluster._repr_html_()
    return controls


@pytest.mark.usefixtures("_notebook")
def test_a_number_of_workers_is_asked_for_and_the_table_follows(cluster: LocalCluster) -> None:
    controls = shown(cluster)
    assert controls is shown(cluster), "another cell shows the same"
    assert controls.table.value == cluster._repr_html_()
    assert controls.count.value == 1
    controls.count.value = 3
    controls.scale.click()
    until(lambda: "Workers (3)" in controls.table.value, "the table shows three workers")
    assert len(cluster.plan) == 3
    cluster.scale(1)
    until(lambda: "Workers (1)" in controls.table.value, "the table follows what others ask for")


@pytest.mark.usefixtures("_notebook")
def test_limits_are_asked_for_and_a_number_ends_that(cluster: LocalCluster) -> None:
    controls = shown(cluster)
    controls.minimum.value, controls.maximum.value = 2, 4
    controls.adapt.click()
    until(lambda: len(cluster.plan) == 2, "it has scaled to the least")
    adaptive: Any = cluster._adaptive
    assert (adaptive.minimum, adaptive.maximum) == (2, 4)
    controls.count.value = 1
    controls.scale.click()
    until(lambda: len(cluster.plan) == 1, "it has as many as were asked for")
    controls.minimum.value = 9
    controls.adapt.click()
    until(lambda: "9" in controls.said.value, "it says what is wrong")
    assert "Error" in controls.said.value
    assert len(cluster.plan) == 1


@pytest.mark.usefixtures("_notebook")
def test_an_asynchronous_cluster_is_scaled_by_its_own_loop() -> None:
    async def main() -> None:
        async with LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, asynchronous=True
        ) as cluster:
            controls = shown(cluster)
            controls.count.value = 2
            controls.scale.click()
            async with asyncio.timeout(LIMIT_S):
                while "Workers (2)" not in controls.table.value:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.usefixtures("_notebook")
def test_what_cannot_scale_has_a_table_alone(cluster: LocalCluster) -> None:
    class Attached(Cluster):
        def __init__(self, address: str) -> None:
            super().__init__()
            self.scheduler_address = address
            self._begin()

    with Attached(cluster.scheduler_address) as attached:
        controls = shown(attached)
        assert controls.widget.children == (controls.table,)


def test_elsewhere_it_is_a_table(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster._repr_mimebundle_() == {}, "this is no notebook: IPython goes on to the text and the table"
    monkeypatch.setattr("windrow.client.displays.in_kernel", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert cluster._repr_mimebundle_() == {}
    assert "<b>LocalCluster</b>" in cluster._repr_html_()

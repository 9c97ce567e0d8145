"""Parties elsewhere, as a cluster sees them: one that has joined counts before its start has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from elsewhere_help import until

from windrow import Client, Scheduler, SpecCluster, Worker
from windrow.deploy.elsewhere import checked_plain, configured, dotted
from windrow.deploy.process_interface import ProcessInterface


class Lingering(ProcessInterface):
    """A worker whose start ends late, if it is not the first; it leaves when that is cancelled."""

    async def start(self) -> None:
        self.worker = await Worker(self.scheduler, name=self.name, nthreads=1)
        try:
            await (asyncio.Event().wait() if self.name else asyncio.sleep(0))
        except asyncio.CancelledError:
            await self.close()
            raise
        await super().start()

    async def close(self) -> None:
        await self.worker.close()
        await super().close()


def test_what_one_holds_is_moved_though_its_start_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    spec: dict[str, Any] = {"cls": Lingering, "options": {}}
    with SpecCluster({0: spec}, {"cls": Scheduler, "options": {}}, spec) as cluster, Client(cluster) as client:
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=10)
        kept = client.scatter([bytes(100_000 + number) for number in range(4)])
        cluster.scale(1)
        until(lambda: cluster.observed == {0}, "the other has gone")
        assert [len(value) for value in client.gather(kept)] == [100_000 + number for number in range(4)]


def test_plain_values_travel_as_they_are() -> None:
    value = {"a": [1, 2.5, None, True], "b": {"c": "text"}, "d": float("inf")}
    assert checked_plain(value, "options") == value
    assert checked_plain((1, 2), "options") == [1, 2]


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, [object()], {"a": {0: 1}}, {"a": print}])
def test_other_values_do_not_travel(value: Any) -> None:
    with pytest.raises(TypeError, match=r"of options|options\["):
        checked_plain({"it": value}, "options")


def test_names_of_classes() -> None:
    assert dotted("mine.Worker", "cls") == "mine.Worker"
    assert dotted(Worker, "cls") == "windrow.worker.worker.Worker"
    for wrong in ("Worker", 7, None):
        with pytest.raises(TypeError, match="cls is a class"):
            dotted(wrong, "cls")


def test_the_configuration_travels_as_far_as_it_is_plain() -> None:
    import dask.config

    with dask.config.set({"scheduler": print, "windrow.far": {"a": 1, "b": print}}):
        found = configured()
    assert found["windrow"]["far"] == {"a": 1}
    assert "scheduler" not in found

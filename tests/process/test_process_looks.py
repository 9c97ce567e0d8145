"""What a notebook shows of a living client, its futures, scheduler and workers."""

from __future__ import annotations

import asyncio

import process_tasks as tasks

from windrow import Client, Future, LocalCluster, Scheduler, Worker, security


def test_a_client_of_a_cluster_object(cluster: LocalCluster, client: Client) -> None:
    html = client._repr_html_()
    for text in (client.id, "the cluster object (LocalCluster)", cluster.scheduler_address, "Workers (2)"):
        assert text in html
    assert f'href="{cluster.dashboard_link}"' in html


def test_a_client_of_an_address(cluster: LocalCluster) -> None:
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        html = client._repr_html_()
        assert "its address" in html
        assert f"<b>Scheduler</b> {cluster.scheduler_address}" in html
        assert all(address in html for address in client.scheduler_info()["workers"])
    closed = client._repr_html_()
    assert "closed" in closed
    assert "Scheduler" not in closed


def test_what_a_client_is_told_is_shown_as_a_table(client: Client) -> None:
    future = client.submit(tasks.inc, 1, key="one & only")
    future.result()
    assert "one &amp; only" in client.who_has()._repr_html_()
    assert "one &amp; only" in client.has_what()._repr_html_()
    assert "<b>Scheduler</b>" in client.scheduler_info()._repr_html_()
    assert client.scheduler_info(n_workers=1)._repr_html_().count("<tr><td") == 1


def test_a_future(client: Client) -> None:
    future = client.submit(tasks.inc, 1, key="<one>")
    future.result()
    html = future._repr_html_()
    assert "<b>Future</b> &lt;one&gt;" in html
    assert "finished" in html
    assert ">int<" in html
    bad = client.submit(tasks.fail, 1)
    bad.exception()
    assert "error" in bad._repr_html_()
    assert "unbound" in Future.unbound("x")._repr_html_()


def test_a_scheduler_and_a_worker() -> None:
    async def main() -> tuple[str, str, str]:
        async with Scheduler(dashboard_address=":0") as scheduler:
            security.remember(scheduler.address, scheduler.secret)
            async with Worker(scheduler.address, nthreads=3, name="w<1>", memory_limit="1 GiB") as worker:
                return worker.address, scheduler._repr_html_(), worker._repr_html_()

    address, scheduler, worker = asyncio.run(main())
    assert address in scheduler
    assert "Started" in scheduler
    assert "<b>Worker</b> w&lt;1&gt;" in worker
    assert "1.00 GiB" in worker
    assert address in worker

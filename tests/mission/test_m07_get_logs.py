"""M7: ``cluster.get_logs()`` returns the logs by component."""

from __future__ import annotations

import logging
import re

from mission_help import until

from windrow import Client, LocalCluster

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - windrow\.\w+ - (INFO|WARNING) - .+$")


def complain() -> None:
    logging.getLogger("distributed.worker").warning("the disk is slow")


def test_logs_by_component(cluster: LocalCluster, client: Client) -> None:
    workers = list(cluster.scheduler_info["workers"])
    logs = cluster.get_logs()
    assert list(logs) == ["Cluster", "Scheduler", *workers]
    assert logs["Cluster"] == ""
    for name in ("Scheduler", *workers):
        lines = logs[name].splitlines()
        assert lines, name
        assert LINE.match(lines[0]), lines[0]  # those before it may be of other clusters of this process
    assert f"INFO - the scheduler is at {cluster.scheduler_address}" in logs["Scheduler"]
    for address in workers:
        assert f"at {address} joins the scheduler at {cluster.scheduler_address}" in logs[address]


def test_what_a_task_logs_is_there(cluster: LocalCluster, client: Client) -> None:
    address = next(iter(cluster.scheduler_info["workers"]))
    client.submit(complain, workers=[address], pure=False).result()
    until(lambda: "the disk is slow" in cluster.get_logs(cluster=False, scheduler=False)[address])
    logs = cluster.get_logs(cluster=False, scheduler=False)
    assert [key for key, log in logs.items() if "the disk is slow" in log] == [address]


def test_in_a_notebook_they_are_folded(cluster: LocalCluster) -> None:
    html = cluster.get_logs()._repr_html_()
    assert html.count("<details>") == html.count("</details>") == 4

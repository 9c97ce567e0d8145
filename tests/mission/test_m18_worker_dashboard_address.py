"""M18: the workers' own diagnostic servers, off by default; ``diagnostics_port`` is an old name of another argument."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from windrow import LocalCluster


def start(**options: Any) -> LocalCluster:
    return LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **options)


def test_each_worker_answers_on_a_port_of_its_own() -> None:
    with start(worker_dashboard_address=":0", dashboard_address=None) as cluster:
        links = [worker["dashboard_link"] for worker in cluster.scheduler_info["workers"].values()]
        pages = [urlopen(link, timeout=20).read().decode() for link in links]
        assert sorted(page.partition("<title>windrow: ")[2][:8] for page in pages) == ["Worker 0", "Worker 1"]


def test_they_are_off_by_default() -> None:
    with start() as cluster:
        assert {worker["dashboard_link"] for worker in cluster.scheduler_info["workers"].values()} == {""}


def test_the_deprecated_name_of_dashboard_address() -> None:
    with pytest.warns(DeprecationWarning, match="dashboard_address"), start(diagnostics_port=0) as cluster:
        assert urlsplit(cluster.dashboard_link).port

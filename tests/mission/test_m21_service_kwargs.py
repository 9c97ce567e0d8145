"""M21: ``service_kwargs``: extra keywords for the running services: ``{'dashboard': {'prefix': '/foo'}}``."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from windrow import LocalCluster


def test_a_prefix_is_in_the_link_and_before_every_path() -> None:
    prefix = {"dashboard": {"prefix": "/foo"}}
    with LocalCluster(n_workers=0, processes=False, service_kwargs=prefix) as cluster:
        assert cluster.dashboard_link.endswith("/foo/status")
        assert urlopen(cluster.dashboard_link, timeout=20).status == 200
        with pytest.raises(HTTPError, match="404"):
            urlopen(cluster.dashboard_link.replace("/foo", ""), timeout=20)

"""M6: ``cluster.dashboard_link`` gives the dashboard's URL, such as ``http://127.0.0.1:8787/status``."""

from __future__ import annotations

from urllib.request import urlopen

from windrow import Client, LocalCluster


def test_the_link_is_the_url_of_a_page_that_is_there() -> None:
    with LocalCluster(n_workers=0, processes=False) as cluster, Client(cluster, set_as_default=False) as client:
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
        assert cluster.dashboard_link.endswith("/status")
        assert client.dashboard_link == cluster.dashboard_link
        with urlopen(cluster.dashboard_link, timeout=20) as page:
            assert page.status == 200
            assert "<title>windrow: Status</title>" in page.read().decode()

"""HTML for notebooks: whole, escaped, and in need of nothing else."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from windrow import looks
from windrow.client import report
from windrow.client.info import HasWhat, SchedulerInfo, WhoHas
from windrow.tls import Security

NASTY = "<script>alert('x')</script>&\""


class Checker(HTMLParser):
    """Follows tags, each of which must be closed by its own."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, dict[str, str | None]] = {}
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.open.append(tag)
        self.seen[tag] = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def parsed(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert not checker.seen.keys() & {"script", "style", "link", "img", "iframe"}, (
        "it needs something, or runs something"
    )
    assert all("color" not in (attrs.get("style") or "") for attrs in checker.seen.values()), "dark and light"
    return checker


def info(count: int = 2, **more: Any) -> dict[str, Any]:
    worker = {"name": NASTY, "nthreads": 2, "memory_limit": 2**30, "status": NASTY, "pid": 7, "local_directory": NASTY}
    workers = {f"tcp://{number}{NASTY}": worker for number in range(count)}
    return {"address": f"tcp://s{NASTY}", "workers": workers, "started": 1.0, **more}


def test_a_scheduler_and_its_workers() -> None:
    checker = parsed(SchedulerInfo(info(dashboard_link="http://127.0.0.1:8787/status"))._repr_html_())
    assert f"tcp://1{NASTY}" in checker.texts
    assert "Workers (2)" in checker.texts
    assert "2.00 GiB" in checker.texts
    assert checker.seen["a"]["href"] == "http://127.0.0.1:8787/status"


def test_of_many_workers_some_are_shown_and_all_counted() -> None:
    checker = parsed(looks.scheduler(info(30), 5))
    assert "Workers (30)" in checker.texts
    assert "and 25 more" in checker.texts
    assert sum(text.startswith("tcp://") for text in checker.texts) == 6


def test_who_has_what() -> None:
    who = parsed(WhoHas({NASTY: ["tcp://a", "tcp://b"], ("x", 0): []})._repr_html_())
    assert NASTY in who.texts
    assert "('x', 0)" in who.texts
    assert "tcp://a, tcp://b" in who.texts
    what = parsed(HasWhat({f"tcp://{NASTY}": [NASTY] * 30, "tcp://b": []})._repr_html_())
    assert what.texts.count(NASTY) == 20
    assert "and 10 more" in what.texts


@pytest.mark.parametrize(
    ("link", "is_link"), [("http://h/status", True), ("javascript:alert(1)", False), (None, False)]
)
def test_a_client(link: str | None, is_link: bool) -> None:
    checker = parsed(report.as_html(f"Client-{NASTY}", "running", f"the file {NASTY}", link, looks.scheduler(info())))
    assert f"Client-{NASTY}" in checker.texts
    assert f"the file {NASTY}" in checker.texts
    assert ("a" in checker.seen) is is_link


def test_security_shows_no_key() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n"
    html = Security(tls_client_key=pem, tls_ca_file=NASTY, require_encryption=True)._repr_html_()
    checker = parsed(html)
    assert "MIIsecret" not in html
    assert any("<script>alert" in text for text in checker.texts)
    assert "tls_client_key" in checker.texts

"""How a cluster looks, from plain facts: valid HTML, nothing in it that somebody else has written."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from windrow.deploy.views import Log, Logs, as_html, as_text, memory_in_words

NASTY = "<script>alert('x')</script>&\""


class Checker(HTMLParser):
    """Follows tags, each of which must be closed by its own."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def worker(**facts: Any) -> dict[str, Any]:
    return {"name": 0, "nthreads": 2, "memory_limit": 2**30, "status": "running", "pid": 7, **facts}


def html(**facts: Any) -> str:
    given: dict[str, Any] = {
        "kind": "LocalCluster",
        "name": "a",
        "address": "tcp://127.0.0.1:1",
        "status": "running",
        "link": "http://127.0.0.1:8787/status",
        "more": {},
        "info": {"workers": {"tcp://127.0.0.1:2": worker(), "tcp://127.0.0.1:3": worker(name=1)}},
        **facts,
    }
    return as_html(**given)


def test_the_table_says_what_there_is() -> None:
    checker = parsed(html(more={"Workers are": "processes"}))
    for text in ("tcp://127.0.0.1:1", "2", "4", "2.00 GiB", "processes", "tcp://127.0.0.1:3", "Workers (2)"):
        assert text in checker.texts, text
    assert checker.links == ["http://127.0.0.1:8787/status"]
    assert "details" in checker.seen


def test_what_others_have_written_is_shown_and_not_obeyed() -> None:
    nasty = {"workers": {NASTY: worker(name=NASTY, status=NASTY, local_directory=NASTY, pid=NASTY)}}
    checker = parsed(html(kind=NASTY, name=NASTY, address=NASTY, status=NASTY, more={NASTY: NASTY}, info=nasty))
    assert "script" not in checker.seen
    assert NASTY in checker.texts


@pytest.mark.parametrize("link", ["", "javascript:alert(1)"])
def test_only_links_are_links(link: str) -> None:
    checker = parsed(html(link=link))
    assert checker.links == []


@pytest.mark.parametrize("info", [{"workers": {}}, {}])
def test_a_cluster_without_workers(info: dict[str, Any]) -> None:
    assert "0 B" in parsed(html(info=info)).texts


def test_memory_is_left_out_where_a_worker_has_no_limit() -> None:
    unlimited = {"a": worker(), "b": worker(memory_limit=0)}
    assert as_text("X", "n", "t", "running", unlimited) == "X(n, 't', workers=2, threads=4)"
    assert as_text("X", "n", "t", "closed", unlimited) == "X(n, 't', closed)"
    assert memory_in_words([]) == ""
    assert "no limit" in parsed(html(info={"workers": unlimited})).texts


def test_logs_are_shown_folded() -> None:
    logs = Logs({"Cluster": Log(""), NASTY: Log(f"second\n{NASTY}")})
    checker = parsed(logs._repr_html_())
    assert checker.seen.count("details") == 2
    assert "script" not in checker.seen
    assert f"second\n{NASTY}" in checker.texts
    assert isinstance(logs, dict)
    assert isinstance(logs["Cluster"], str)

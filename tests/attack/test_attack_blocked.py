"""``blocked_handlers``: each name that there is, for each role, and no request that has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from decoders import example

from windrow import Client, LocalCluster
from windrow.client import calls
from windrow.errors import NotAllowed
from windrow.roles import Role, token
from windrow.scheduler.blocking import NAMES, blocked, refusal
from windrow.wire import messages as m
from windrow.wire import requests as r
from windrow.wire.permissions import REQUESTS, needed

HOUSE = {r.Arrive, r.GetData, r.Reach, r.Ask}
"""What parties of the cluster ask each other; and what has names for some of its services."""


def requests_of(name: str) -> Iterator[Any]:
    """Return requests that a name stands for."""
    for kind, test in NAMES[name]:
        request = example(kind)
        for field, values in (("kind", ("nanny", "scheduler", "worker")), ("service", ("events",))):
            if hasattr(request, field):
                setattr(request, field, next(value for value in values if test(_with(request, field, value))))
        assert test(request)
        yield request


def _with(request: Any, field: str, value: str) -> Any:
    setattr(request, field, value)
    return request


def test_every_request_has_a_name() -> None:
    assert set(REQUESTS) - {kind for kinds in NAMES.values() for kind, _ in kinds} == HOUSE - {r.Ask}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_blocks_nothing_else(name: str) -> None:
    table = blocked([name])
    own = {kind for kind, _ in NAMES[name]}
    assert set(table) == own
    for other in NAMES:
        for request in requests_of(other):
            if type(request) not in own:
                assert refusal(table, request) is None


@pytest.fixture(scope="module")
def closed(runtime_directory: Path) -> Iterator[LocalCluster]:
    """A cluster that answers nothing that has a name."""
    names = list(NAMES)
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", blocked_handlers=names) as cluster:
        yield cluster


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_every_name_blocks_what_it_names(closed: LocalCluster, role: Role) -> None:
    secret = token(closed.secret or b"", role)
    with Client(closed.scheduler_address, secret=secret, set_as_default=False) as client:
        for name in NAMES:
            for request in requests_of(name):
                with pytest.raises(PermissionError) as caught:
                    client.run_steps(calls.ask_value(client.session, request), 10, name)
                if needed(m.Call(1, request)) <= role:
                    assert not isinstance(caught.value, NotAllowed)
                    assert "its blocked_handlers" in str(caught.value)

"""The table of roles: complete, so that a new message cannot be forgotten, and what it says of those that matter."""

from __future__ import annotations

import typing

import pytest

from windrow.primitives.catalog import SERVICES
from windrow.primitives.metadata import GetMetadata, SetMetadata
from windrow.primitives.service import Service
from windrow.roles import Role
from windrow.scheduler.core import HANDLERS
from windrow.scheduler.following import Following
from windrow.scheduler.memory_manager import MemoryManager
from windrow.scheduler.requests import ANSWERS, FOR_OBSERVERS
from windrow.scheduler.state import ClientRecord, NannyRecord, ObserverRecord, WorkerRecord
from windrow.wire import messages as m
from windrow.wire import permissions
from windrow.wire import requests as r
from windrow.wire.permissions import needed, what


def test_every_message_is_in_the_table() -> None:
    assert set(permissions.MESSAGES) == set(typing.get_args(m.Message)) - {m.Call}


def test_every_request_is_in_the_table() -> None:
    assert set(permissions.REQUESTS) == set(typing.get_args(r.Request))


def test_every_service_is_in_the_table() -> None:
    assert set(permissions.SERVICES) == {service.name for service in (*SERVICES, MemoryManager, Following)}


def test_who_watches_may_ask_what_observers_may_and_no_more() -> None:
    of_watchers = {request for request, role in permissions.REQUESTS.items() if role is Role.WATCH}
    assert of_watchers == FOR_OBSERVERS | {r.RecentLogs, r.Tallies, r.Versions}
    said = {kind for kind, role in permissions.MESSAGES.items() if role is Role.WATCH}
    assert said - {m.Begin, m.Resume, m.Resumed, m.Ack} == {m.HelloObserver, m.Listen, m.Close}
    assert set(HANDLERS[ObserverRecord]) == {m.Call, m.Close}


def test_a_client_needs_no_more_than_submit_for_what_is_no_question() -> None:
    assert {permissions.MESSAGES[kind] for kind in HANDLERS[ClientRecord] if kind is not m.Call} == {
        Role.WATCH,  # Close
        Role.SUBMIT,
    }


@pytest.mark.parametrize("record", [WorkerRecord, NannyRecord])
def test_what_parties_of_the_cluster_say_takes_the_secret(record: type) -> None:
    shared = {m.Close, m.Log, m.Reply}
    own = {permissions.MESSAGES[kind] for kind in HANDLERS[record] if kind not in shared}
    assert own == {Role.ADMINISTER}
    assert needed(m.HelloWorker("tcp://x", "x", 1)) is needed(m.HelloNanny("x", 0)) is Role.ADMINISTER
    assert needed(m.Call(0, r.Arrive("worker"))) is Role.ADMINISTER


@pytest.mark.parametrize(
    "request_",
    [
        r.Shutdown(),
        r.Restart(),
        r.RestartWorkers([]),
        r.Retire([]),
        r.RunOnScheduler(b""),
        r.RunFunction(b"", nanny=True),
        r.RegisterPlugin("worker", "p", b""),
        r.UnregisterPlugin("worker", "p"),
        r.Ask("amm", "stop"),
        r.GetData([]),
        r.Ask("a service that there is not", None),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_takes_the_secret(request_: r.Request) -> None:
    assert needed(m.Call(1, request_)) is Role.ADMINISTER


def test_what_is_in_no_table_is_for_nobody_but_administrators() -> None:
    class New(m.Struct, tag=999, array_like=True):
        pass

    assert needed(New()) is needed(m.Call(1, New())) is Role.ADMINISTER  # type: ignore[arg-type]


@pytest.mark.parametrize("service", [*SERVICES, MemoryManager, Following])
def test_who_watches_reads_what_services_keep_and_changes_nothing(service: type[Service]) -> None:
    kinds = typing.get_args(service.requests) or (service.requests,)
    tags = [kind.__struct_config__.tag for kind in kinds if hasattr(kind, "__struct_config__")]
    for_all = {tag for tag in tags if needed(m.Call(1, r.Ask(service.name, [tag, []]))) is Role.WATCH}
    assert for_all == {"datasets": {"list"}, "events": {"get"}, "metadata": {"get"}, "output": {"get"}}.get(
        service.name, set()
    )
    for wish in (None, [], [["get"]], {"get": 1}, "get", b"get"):
        assert needed(m.Call(1, r.Ask(service.name, wish))) is not Role.WATCH


def test_a_request_within_a_process_is_told_as_one_from_the_wire() -> None:
    assert needed(m.Call(1, r.Ask("metadata", GetMetadata(["x"])))) is Role.WATCH
    assert needed(m.Call(1, r.Ask("metadata", SetMetadata(["x"], 1)))) is Role.SUBMIT


def test_what_may_be_refused_is_named_as_people_know_it() -> None:
    table = {**permissions.MESSAGES, **permissions.REQUESTS, **permissions.SERVICES}
    of_roles = {kind for kind, role in table.items() if role is not Role.WATCH} - {r.Ask}
    assert of_roles == set(permissions.PHRASES)
    assert what(m.Call(1, r.RunOnScheduler(b""))) == "To run a function on the scheduler (RunOnScheduler)"
    assert what(m.Call(1, r.Ask("semaphores", None))) == "To use locks and semaphores (Ask 'semaphores')"
    assert what(m.Call(1, r.RunFunction(b"", nanny=True))) == "To run a function on nannies (RunFunction)"


def test_every_answer_of_the_scheduler_is_in_the_table() -> None:
    assert set(ANSWERS) <= set(permissions.REQUESTS)

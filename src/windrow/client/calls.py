"""Questions to the scheduler, and the running of functions outside the task system.

What lives here: steps that send a `Call` and take its `Reply` apart. What this file must never know: how a link is
made, and what the scheduler does to answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from windrow.client.session import Question, Session
from windrow.client.waiting import Steps, paused
from windrow.errors import ClosedClientError, WindrowError, WorkerStartTimeoutError
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

log = logging.getLogger("windrow.client")

POLL_S = 0.02

LISTED_MAX = 20
"""Workers that a message names."""


def ask(session: Session, request: r.Request) -> Steps[m.Reply]:
    """Send a request, and wait for the reply; what the reply holds as an error is raised."""
    question = session.ask(request)
    try:
        yield question
    finally:
        session.drop_question(question)
    reply = question.reply
    if reply is None:
        raise ClosedClientError(f"{type(request).__name__} has no answer: {session.reason}.")
    if reply.error is not None:
        raise refusal(reply.error)
    return reply


def refusal(error: bytes) -> BaseException:
    """The exception that a reply carries."""
    data = payload.loads(error)
    if isinstance(data, BaseException):
        return data
    from windrow.wire import failure

    if isinstance(data, list):
        return failure.load(error)
    return WindrowError(str(data))


def ask_value(session: Session, request: r.Request) -> Steps[Any]:
    """The plain value of a reply."""
    reply = yield from ask(session, request)
    return reply.value


def consult(
    session: Session,
    service: str,
    request: object,
    blobs: Sequence[Blob] = (),
    timeout_s: float | None = None,
    then: Callable[[m.Reply | None], Any] | None = None,
    undo: object = None,
) -> Steps[Any]:
    """Ask a service of the scheduler; see ``Client.consult``. Whoever gives the wait up has ``undo`` asked instead."""
    question = session.ask(r.Ask(service, request, list(blobs)))
    if timeout_s is not None:
        assert session.loop is not None
        session.loop.call_soon_threadsafe(session.loop.call_later, timeout_s, session.withdraw, question)
    try:
        yield question
    except BaseException:
        session.withdraw(question)
        if callable(undo):
            question.attach(partial(_undo, session, question, undo))
        elif undo is not None and session.status == "running":
            session.ask(r.Ask(service, undo))
        raise
    reply = question.reply
    if reply is None:
        raise ClosedClientError(f"the {service} service gives no answer: {session.reason}.")
    if reply.error is not None:
        raise refusal(reply.error)
    if then is not None:
        return then(None if reply.late else reply)
    if reply.late:
        raise TimeoutError(f"{service}: not there after {timeout_s:g} s")
    return reply.value


def _undo(session: Session, question: Question, undo: Callable[[m.Reply], None]) -> None:
    """Have a reply taken back for which nobody waits any more; on the loop, as this runs under the session's lock."""
    reply, loop = question.reply, session.loop
    if reply is not None and not reply.late and reply.error is None and loop is not None:
        try:
            loop.call_soon_threadsafe(undo, reply)
        except RuntimeError:
            pass  # the loop is closed, and the scheduler takes the client's end for an answer


def chosen_workers(session: Session, names: list[str]) -> Steps[dict[str, Any]]:
    """The workers, by address, that have one of these addresses, names or hosts; ValueError for what no worker has."""
    identity = yield from ask_value(session, r.Identity())
    workers: dict[str, Any] = identity["workers"]
    wanted, met = set(names), set()
    chosen = {}
    for address, worker in workers.items():
        if found := wanted & {address, str(worker["name"]), worker["host"]}:
            met |= found
            chosen[address] = worker
    if len(met) < len(wanted):
        unknown = ", ".join(repr(name) for name in dict.fromkeys(names) if name not in met)
        there = [f"{worker['name']} at {address}" for address, worker in workers.items()]
        more = f" and {len(there) - LISTED_MAX} more" if len(there) > LISTED_MAX else ""
        listed = ", ".join(there[:LISTED_MAX]) or "none"
        raise ValueError(f"workers: there is no {unknown}. The workers that are there: {listed}{more}.")
    return chosen


def nthreads(session: Session, workers: list[str] | None) -> Steps[dict[str, int]]:
    """Threads by worker address."""
    identity = yield from ask_value(session, r.Identity())
    return {
        address: worker["nthreads"]
        for address, worker in identity["workers"].items()
        if workers is None or address in workers or str(worker["name"]) in workers
    }


def wait_for_workers(session: Session, count: int) -> Steps[None]:
    """Until so many workers run."""
    running = 0
    try:
        while True:
            identity = yield from ask_value(session, r.Identity())
            running = sum(worker["status"] == "running" for worker in identity["workers"].values())
            if running >= count:
                return
            yield from paused(session, POLL_S)
    except TimeoutError as error:
        raise WorkerStartTimeoutError(f"{running} of {count} workers are there, and the time is over") from error


def restart(session: Session, wait: bool) -> Steps[None]:
    """Forget all tasks and start all workers afresh."""
    before = list(session.entries.values())
    count = yield from ask_value(session, r.Restart())
    session.forget_all(before, "the cluster was restarted")
    if wait and count:
        yield from wait_for_workers(session, int(count))


def retire(session: Session, workers: list[str], close: bool = True) -> Steps[dict[str, Any]]:
    """Close workers in good order; what was known of those that are closed."""
    chosen = yield from chosen_workers(session, workers)
    closed = yield from ask_value(session, r.Retire(list(chosen), close))
    stayed = [address for address in chosen if address not in closed]
    if stayed:
        log.warning("not retired, as actors live there, or no worker can take what they hold: %s", ", ".join(stayed))
    return {address: chosen.get(address, {}) for address in closed}


# ---------------------------------------------------------------- functions outside the task system


def run(session: Session, call: Blob, workers: list[str] | None, wait: bool, nanny: bool, on_error: str) -> Steps[Any]:
    """Run a function on workers; {address: result}."""
    if workers is not None:
        workers = list((yield from chosen_workers(session, workers)))
    reply = yield from ask(session, r.RunFunction(call, workers, wait, nanny))
    if not wait:
        return None
    results: dict[str, Any] = {}
    for address, blob in zip(reply.value, reply.blobs, strict=True):
        ok, value = outcome(blob)
        if ok or on_error == "return":
            results[address] = value
        elif on_error == "raise":
            raise value
    return results


def run_on_scheduler(session: Session, call: Blob) -> Steps[Any]:
    """Run a function in the scheduler's process; its result."""
    reply = yield from ask(session, r.RunOnScheduler(call))
    ok, value = outcome(reply.blobs[0])
    if not ok:
        raise value
    return value


def outcome(blob: Blob | None) -> tuple[bool, Any]:
    """What a function did: (True, its result) or (False, its exception)."""
    if blob is None:
        return False, WindrowError("A worker left before it had run the function; the other workers have run it.")
    ok, value = cast("tuple[bool, Any]", payload.loads(blob))
    if ok:
        return True, value
    from windrow.wire import failure

    return False, failure.load(value)


def call_blob(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Blob:
    """A function and its arguments for `run`; errors name the part that cannot travel."""
    if not callable(function):
        raise TypeError(f"the first argument must be a function, not {type(function).__name__}")
    return payload.dumps((function, args, kwargs), f"The call of {getattr(function, '__name__', function)!r}")


def checked_on_error(on_error: str) -> str:
    """``on_error`` of `run`, if it is one of the three."""
    if on_error not in ("raise", "return", "ignore"):
        raise ValueError(f"on_error must be 'raise', 'return' or 'ignore', not {on_error!r}")
    return on_error

"""``/api/v1``: what programs ask of a cluster, and have it do, over HTTP with JSON.

What lives here: its paths, the forms of wishes, and errors as JSON. What this file must never know: how anything is
decided; the scheduler does what is asked, if who asks may.

Who may look may read here. What changes something is asked by POST with the cluster's secret (the role administer) in
an ``Authorization`` header, on loopback too. This process holds no such secret: it knocks at the scheduler with the one
that it is given, for the one question, and the scheduler says whether that is right.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tornado.web import HTTPError, RequestHandler

from windrow import roles, transport
from windrow.errors import NotAllowed, WrongSecret
from windrow.observe.app import Answer
from windrow.roles import Role
from windrow.transport.asker import Asker
from windrow.wire.messages import HelloClient
from windrow.wire.requests import Request, Retire, ScaleCluster

__all__ = ["ROUTES"]

KNOCK_S = 10.0
"""How long the scheduler has to let somebody in."""
CHANGE_S = 300.0
"""How long a change may take: workers that retire hand over what they hold."""
WORKERS_MAX = 10_000
"""More are a slip of the finger."""
AT_ONCE = 4
"""So many changes are under way at a time; more wait."""

HEADER = "send the cluster's secret (of the scheduler file, or the secret file) as 'Authorization: Bearer SECRET'"

_numbers = itertools.count(1)
_seats = asyncio.Semaphore(AT_ONCE)


class Api(Answer):
    """Base of all: answers, and says what is wrong, in JSON."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong, and what to do, under the name "Error"."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, HTTPError) and error.log_message:
            words = error.log_message.replace("%%", "%")
        elif status_code == 401:
            words = "show the token of the dashboard's link, or a watch token, as 'Authorization: Bearer TOKEN'"
        elif status_code == 405:
            words = f"this takes no {self.request.method}: what reads is asked by GET, what changes something by POST"
        elif isinstance(error, TimeoutError | ConnectionError):
            self.set_status(503)
            words = f"the scheduler does not answer: {error or 'it may be busy'}; try again"
        else:
            words = f"{status_code}: {self._reason}; the dashboard's log says more"
        self.write_json({"Error": words})
        self.finish()


class Index(Api):
    """``/api/v1``."""

    async def get(self) -> None:
        """Answer with what there is."""
        self.write_json({"paths": [path for path in self.site.paths if path.startswith("/api/v1/")]})


class Workers(Api):
    """``/api/v1/get_workers``."""

    async def get(self) -> None:
        """Answer with names and addresses."""
        workers = (await self.site.source.snapshot()).identity["workers"]
        listed = [{"name": worker["name"], "address": address} for address, worker in workers.items()]
        self.write_json({"num_workers": len(listed), "workers": listed})


class Target(Api):
    """``/api/v1/adaptive_target``."""

    async def get(self) -> None:
        """Answer with how many workers the work at hand asks for."""
        self.write_json({"workers": await self.site.source.desired()})


class Idle(Api):
    """``/api/v1/check_idle``."""

    async def get(self) -> None:
        """Answer since when nothing is done, in seconds since the epoch; null while something is."""
        overview = (await self.site.source.snapshot()).overview
        since_s = overview["idle_since"]
        self.write_json({"idle_since": None if since_s is None else time.time() - (overview["now"] - since_s)})


# ---------------------------------------------------------------- what changes something


class Change(Api):
    """Base of what changes something."""

    fields: Mapping[str, type] = {}
    """What a wish may have."""

    def prepare(self) -> Awaitable[None] | None:
        """Take nothing but JSON from who shows a secret; whether it is the right one, the scheduler says."""
        if self.request.method != "POST":
            return super().prepare()
        self.site.last_asked_s = asyncio.get_running_loop().time()
        if not self._bearer():
            raise HTTPError(401, f"what changes something takes the role administer: {HEADER}")
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPError(415, "send the wish as JSON, with 'Content-Type: application/json'")
        return None

    async def get(self) -> None:
        """Change nothing, and say how it is done."""
        self.write_json({"POST": self.form(), "Content-Type": "application/json", "Authorization": "Bearer SECRET"})

    def form(self) -> str:
        """Return the form of a wish."""
        return "{" + ", ".join(f'"{name}": {_FORMS[kind]}' for name, kind in self.fields.items()) + "}"

    def wish(self) -> dict[str, Any]:
        """Return what is wished for; 400 if that is none of `fields`."""
        try:
            said = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise HTTPError(400, f"this is no JSON ({error}): send {self.form()}") from None
        if not isinstance(said, dict) or not said.keys() <= self.fields.keys():
            raise HTTPError(400, f"send this, and nothing else: {self.form()}")
        for name, value in said.items():
            if type(value) is not self.fields[name]:
                raise HTTPError(400, f"{name!r} is {_FORMS[self.fields[name]]}, not {value!r}")
        return said

    async def change(self, request: Request) -> Any:
        """Have the scheduler do something for who has asked; return its answer."""
        async with _seats, self._administrator() as asker, asyncio.timeout(CHANGE_S):
            try:
                return (await asker.ask(request)).value
            except (NotImplementedError, PermissionError, ValueError) as error:
                status = 403 if isinstance(error, PermissionError) else 409
                raise HTTPError(status, str(error)) from None

    @asynccontextmanager
    async def _administrator(self) -> AsyncIterator[Asker]:
        try:
            held = roles.from_text(self._bearer())
        except ValueError as error:
            raise HTTPError(403, f"{error}; {HEADER}") from None
        if roles.split(held)[0] is not Role.ADMINISTER:
            refusal = NotAllowed("What changes something", str(Role.ADMINISTER), str(roles.split(held)[0]))
            raise HTTPError(403, str(refusal))
        try:
            link = await transport.connect(self.site.source.address, secret=held, timeout_s=KNOCK_S)
        except WrongSecret:
            raise HTTPError(403, f"this is not the cluster's secret, and nothing was done: {HEADER}") from None
        asker = Asker(link)
        asker.say(HelloClient(f"Client-api-{os.getpid()}-{next(_numbers)}", "api"))
        try:
            yield asker
        finally:
            link.close()


class RetireWorkers(Change):
    """``/api/v1/retire_workers``."""

    fields = {"workers": list, "n": int}

    async def post(self) -> None:
        """Have others hold what these workers hold, and close them; or as many as are said that can be missed."""
        wish = self.wish()
        if len(wish) != 1:
            raise HTTPError(400, 'say either which "workers" retire, by address or name, or how many: "n"')
        if "n" in wish and wish["n"] < 1:
            raise HTTPError(400, "'n' is 1 or more")
        names = [str(name) for name in wish["workers"]] if "workers" in wish else None
        if names is not None:
            await self._check(names)
        gone = await self.change(Retire(names, n=wish.get("n")))
        self.write_json({"num_workers": len(gone), "workers": gone})

    async def _check(self, names: list[str]) -> None:
        workers = (await self.site.source.snapshot()).identity["workers"]
        known = {*workers, *(str(worker["name"]) for worker in workers.values())}
        if unknown := [name for name in names if name not in known]:
            words = f"there are no workers {', '.join(unknown)}, and nothing was done; see /api/v1/get_workers"
            raise HTTPError(404, words)


class Scale(Change):
    """``/api/v1/scale``."""

    fields = {"n": int}

    async def post(self) -> None:
        """Have so many workers, where the cluster can start and close them."""
        wish = self.wish()
        if not 0 <= wish.get("n", -1) <= WORKERS_MAX:
            raise HTTPError(400, f'say how many workers there are to be, up to {WORKERS_MAX}: {{"n": 4}}')
        self.write_json({"workers": await self.change(ScaleCluster(wish["n"]))})


_FORMS = {list: "a list of names or addresses", int: "a number"}

ROUTES: dict[str, type[RequestHandler]] = {
    "/api/v1": Index,
    "/api/v1/get_workers": Workers,
    "/api/v1/adaptive_target": Target,
    "/api/v1/check_idle": Idle,
    "/api/v1/retire_workers": RetireWorkers,
    "/api/v1/scale": Scale,
}

"""Tasks that run to their end though nobody holds a future on them: the scheduler's side of ``fire_and_forget``.

What lives here: the service, which wants each of these tasks until it is done or has failed. What this file must never
know: how tasks run. (The function itself knows futures, and stands with them in ``client/future.py``.)
"""

from __future__ import annotations

from windrow.keys import Key
from windrow.primitives.service import Question, Service
from windrow.wire.blobs import Blob

OWNER = "fire-and-forget"


class Keeping(Service):
    """Wants tasks on nobody's behalf, each until its end; a client's end changes nothing."""

    name = "fire-and-forget"
    requests = list[Key]

    def ask(self, question: Question, request: list[Key], blobs: list[Blob]) -> None:
        """Want these from now on; the answer says how many of them are there."""
        found = [key for key in request if self.desk.hold(OWNER, key, brief=True)]
        question.answer(len(found))

"""What comes over a link, let through or refused by the role that its other side has proved.

What lives here: `Gate`, in front of whoever takes messages. What this file must never know: which role may say what
(`wire.permissions`), and what a message does.

A question is answered with the refusal, and its connection stays. What asks for no answer ends its connection: its
sender would wait for what never comes.
"""

from __future__ import annotations

import logging

from windrow.errors import NotAllowed
from windrow.roles import Role
from windrow.transport.base import Link
from windrow.wire import failure
from windrow.wire.messages import Call, Message, Reply
from windrow.wire.permissions import needed, what

__all__ = ["Gate"]

KINDS_MAX = 100
"""So many refusals of one link are logged, each once."""


class Gate:
    """A gate for any number of links.

    Parameters
    ----------
    logger
        Where refusals are logged, once for each link and kind of message.

    Examples
    --------
    >>> Gate(logging.getLogger("example"))
    <Gate told=0>
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: dict[Link, set[str]] = {}

    def __repr__(self) -> str:
        return f"<Gate told={sum(map(len, self._told.values()))}>"

    def let_through(self, link: Link, messages: list[Message]) -> list[Message]:
        """Return those of a batch that the link's role may say; questions among the others are answered.

        Raises
        ------
        NotAllowed
            Something else is among the others, and so nothing of the batch is to be taken.
        """
        role = link.role
        if role is Role.ADMINISTER:
            return messages
        allowed: list[Message] = []
        answers: list[Message] = []
        for message in messages:
            least = needed(message)
            if least <= role:
                allowed.append(message)
                continue
            refusal = NotAllowed(what(message), str(least), str(role))
            self._tell(link, refusal)
            if type(message) is not Call:
                raise refusal
            answers.append(Reply(message.id, error=failure.dump(refusal)[0]))
        if answers:
            link.send(answers)
        return allowed

    def forget(self, link: Link) -> None:
        """Forget what was logged of a link that has ended."""
        self._told.pop(link, None)

    def _tell(self, link: Link, refusal: NotAllowed) -> None:
        told = self._told.setdefault(link, set())
        if refusal.what not in told and len(told) < KINDS_MAX:
            told.add(refusal.what)
            self._logger.warning("refused to %s: %s", link.remote, refusal)

"""Questions to a scheduler by its address, as libraries that manage clusters put them.

What lives here: `rpc`. What this file must never know: what can be asked (``client.proxy``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from windrow.client.client import Client
from windrow.client.options import Duration

__all__ = ["rpc"]


class rpc:  # lower case: it is used like a function
    """Asks the scheduler at an address what ``client.scheduler`` can be asked; each method returns an awaitable.

    Parameters
    ----------
    arg
        The scheduler's address.
    timeout
        For connecting.
    comm, deserialize, connection_args, serializers, deserializers
        Accepted for the sake of existing programs, and not used.

    Examples
    --------
    >>> async with rpc("tcp://127.0.0.1:8786") as scheduler:  # doctest: +SKIP
    ...     await scheduler.identity()
    """

    def __init__(
        self,
        arg: str | None = None,
        comm: object = None,
        deserialize: bool = True,
        timeout: Duration = None,
        connection_args: object = None,
        serializers: object = None,
        deserializers: object = None,
    ) -> None:
        if not isinstance(arg, str):
            raise TypeError(f"rpc needs the address of a scheduler, such as 'tcp://127.0.0.1:8786', not {arg!r}")
        self.address = arg
        self.status = "running"
        self._more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        self._connecting: asyncio.Future[Client] | None = None

    async def _client(self) -> Client:
        if self.status != "running":
            raise OSError(f"this rpc to {self.address} was closed; make a new one")
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Client:
        client: Any = Client(self.address, asynchronous=True, set_as_default=False, **self._more)
        await client
        return client  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        async def ask(**kwargs: Any) -> Any:
            return await getattr((await self._client()).scheduler, name)(**kwargs)

        return ask

    async def close_rpc(self) -> None:
        """Close the connection; again is harmless."""
        self.status = "closed"
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await (await connecting).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close_rpc()

    def __repr__(self) -> str:
        return f"<rpc to {self.address!r}, {self.status}>"

"""Methods of `Client` for published datasets, and ``client.datasets``, the same as a mapping.

What lives here: how values with futures in them go to the scheduler and come back. What this file must never know: what
the scheduler does to keep them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

from windrow import keys
from windrow.client.base import Base
from windrow.client.options import NO_DEFAULT
from windrow.keys import Key, from_plain
from windrow.primitives.datasets import Fetch, ListNames, Publish, Unpublish
from windrow.wire import messages as m
from windrow.wire import payload

SERVICE = "datasets"


class DatasetMethods(Base):
    """What a client does with published datasets."""

    def publish_dataset(self, *args: Any, name: Key | None = None, override: bool = False, **kwargs: Any) -> Any:
        """Keep values on the scheduler under names, for all its clients, until they are unpublished.

        A future in a value, or a persisted collection, stays computed as long: beyond the end of this client.

        Parameters
        ----------
        *args
            With ``name``, the value to publish under it; several are published as a tuple. Without, a dict of values by
            name.
        name
            A string, a number or a tuple of these.
        override
            Whether to replace what is published under a name already.
        **kwargs
            Values by name.

        Raises
        ------
        KeyError
            A name is there already; nothing is published then.
        ValueError
            The names cannot be told from the arguments.

        Examples
        --------
        >>> client.publish_dataset(trips=df)  # doctest: +SKIP
        >>> client.publish_dataset(df, name="trips", override=True)  # doctest: +SKIP
        """
        values = _named(args, name, kwargs)
        columns, blobs = [], []
        with payload.collecting(holder=True) as futures:
            for label, value in values.items():
                blobs.append(payload.dumps(value, f"The dataset {label!r}"))
                columns.append(list(futures.take()))
        return self.consult(SERVICE, Publish(list(values), columns, bool(override)), blobs)

    def get_dataset(self, name: Any, default: Any = NO_DEFAULT, **kwargs: Any) -> Any:
        """Return a published dataset; of a list of names, a list.

        Futures in it belong to this client from now on. After a restart of the cluster they are cancelled: the names
        survive it, and the results do not.

        Raises
        ------
        KeyError
            Nothing is published under this name, and there is no default.
        """
        names = _names(name)

        def load(reply: m.Reply | None) -> Any:
            assert reply is not None
            blobs = iter(reply.blobs)
            found = []
            for wanted, refers in zip(names, reply.value, strict=True):
                if refers is None and default is NO_DEFAULT:
                    raise KeyError(f"no dataset is published under the name {wanted!r}")
                found.append(default if refers is None else self._load(next(blobs), refers))
            return found if isinstance(name, list) else found[0]

        return self.consult(SERVICE, Fetch(names), then=load)

    def _load(self, blob: Any, refers: list[Any]) -> Any:
        with payload.resolving([self.bind(from_plain(key)) for key in refers]):
            return payload.loads(blob, copy=True)

    def list_datasets(self, **kwargs: Any) -> Any:
        """Return the names of what is published, sorted."""

        def names(reply: m.Reply | None) -> tuple[Key, ...]:
            assert reply is not None
            return _sorted(map(from_plain, reply.value))

        return self.consult(SERVICE, ListNames(), then=names)

    def unpublish_dataset(self, name: Any, **kwargs: Any) -> Any:
        """Publish it no more: a name, or a list of names; of one that is not there nothing is said."""
        return self.consult(SERVICE, Unpublish(_names(name)))

    @property
    def datasets(self) -> Datasets:
        """What is published, as a mapping that can be changed; see `publish_dataset`."""
        return Datasets(self)


class Datasets(MutableMapping[Key, Any]):
    """The published datasets of a client's scheduler, by name; `Client.datasets`.

    Each look asks the scheduler, and so blocks. On an asynchronous client only ``async for name in client.datasets``
    works; for all else there are ``get_dataset``, ``publish_dataset`` and so on, to be awaited.

    Examples
    --------
    >>> client.datasets["trips"] = df  # doctest: +SKIP
    >>> list(client.datasets), "trips" in client.datasets  # doctest: +SKIP
    (['trips'], True)
    """

    __slots__ = ("_client",)

    def __init__(self, client: DatasetMethods) -> None:
        self._client = client

    def _blocking(self, instead: str) -> DatasetMethods:
        if self._client.asynchronous:
            raise TypeError(f"client.datasets blocks, which an asynchronous client cannot: write {instead}")
        return self._client

    def __getitem__(self, name: Key) -> Any:
        return self._blocking("'await client.get_dataset(name)'").get_dataset(name)

    def __setitem__(self, name: Key, value: Any) -> None:
        self._blocking("'await client.publish_dataset(value, name=name)'").publish_dataset(value, name=name)

    def __delitem__(self, name: Key) -> None:
        client = self._blocking("'await client.unpublish_dataset(name)'")
        if name not in client.list_datasets():
            raise KeyError(f"no dataset is published under the name {name!r}")
        client.unpublish_dataset(name)

    def __contains__(self, name: object) -> bool:
        return name in self._blocking("'name in await client.list_datasets()'").list_datasets()

    def __iter__(self) -> Iterator[Key]:
        return iter(self._blocking("'async for name in client.datasets'").list_datasets())

    async def __aiter__(self) -> AsyncIterator[Key]:
        if not self._client.asynchronous:
            raise TypeError("'async for' is for asynchronous clients: write 'for name in client.datasets'")
        for name in await self._client.list_datasets():
            yield name

    def __len__(self) -> int:
        return len(self._blocking("'len(await client.list_datasets())'").list_datasets())

    def __repr__(self) -> str:
        if self._client.asynchronous:
            return "<Datasets of an asynchronous client>"
        return f"<Datasets: {', '.join(map(repr, self)) or 'none'}>"


def _named(args: tuple[Any, ...], name: object, kwargs: dict[str, Any]) -> dict[Key, Any]:
    """Return the values to publish, by name."""
    if name is not None:
        if not args:
            raise ValueError("publish_dataset: name= is for a value that is given without one, and there is none")
        if kwargs:
            raise ValueError(f"publish_dataset: name= and {', '.join(kwargs)}= cannot be given together")
        return {keys.checked(name, "name"): args[0] if len(args) == 1 else args}
    if not args:
        if not kwargs:
            raise ValueError("publish_dataset: give something to publish, such as publish_dataset(name=value)")
        return {label: value for label, value in kwargs.items()}  # noqa: C416 (keys of any kind, as the others)
    if kwargs or len(args) > 1 or not isinstance(args[0], dict):
        raise ValueError("publish_dataset: a value needs a name: name='…', or as a keyword, or in a dict by name")
    return {keys.checked(label, "name"): value for label, value in args[0].items()}


def _names(name: Any) -> list[Key]:
    return [keys.checked(label, "name") for label in (name if isinstance(name, list) else [name])]


def _sorted(names: Any) -> tuple[Key, ...]:
    names = list(names)
    try:
        return tuple(sorted(names))
    except TypeError:  # strings and tuples among each other
        return tuple(sorted(names, key=repr))

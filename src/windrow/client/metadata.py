"""Methods of `Client` for metadata: ``get_metadata`` and ``set_metadata``.

What lives here: these methods. What this file must never know: where the data is kept.
"""

from __future__ import annotations

from typing import Any

from windrow import keys
from windrow.client.base import Base
from windrow.client.options import NO_DEFAULT
from windrow.primitives import plain
from windrow.primitives.metadata import GetMetadata, SetMetadata
from windrow.wire import messages as m

SERVICE = "metadata"


class MetadataMethods(Base):
    """What a client does with metadata."""

    def get_metadata(self, keys: Any, default: Any = NO_DEFAULT) -> Any:
        """Return what is in the scheduler's metadata under a key, or at the end of a path of keys.

        Parameters
        ----------
        keys
            A key, or a list or tuple of keys that leads through dicts. Each is a string or a number; in a list, a
            tuple of such too.
        default
            For where there is nothing.

        Raises
        ------
        KeyError
            There is nothing, and no default.
        """
        path = _path(keys, list | tuple)

        def found(reply: m.Reply | None) -> Any:
            assert reply is not None
            if reply.value:
                return plain.checked(reply.value[0])
            if default is NO_DEFAULT:
                raise KeyError(keys)
            return default

        return self.consult(SERVICE, GetMetadata(path), then=found)

    def set_metadata(self, key: Any, value: Any) -> Any:
        """Put something into the scheduler's metadata, where every client and task finds it.

        Parameters
        ----------
        key
            A string, a number or a tuple of these, which is one key; or a list of keys that leads through dicts, which
            are made where there are none.
        value
            Plain data: None, numbers, text, bytes, and lists and dicts of these.
        """
        return self.consult(SERVICE, SetMetadata(_path(key, list), plain.checked(value, "value")))


def _path(given: Any, kinds: Any) -> list[Any]:
    steps = list(given) if isinstance(given, kinds) else [given]
    if not steps:
        raise ValueError("a path of metadata must have at least one key")
    return [keys.checked(step, "key") for step in steps]

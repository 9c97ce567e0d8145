"""TLS, which this version of windrow lacks, under the name that libraries import and test objects against.

What lives here: `Security`, which cannot be made. What this file must never know: how connections are authenticated.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Security"]

_WORDS = (
    "TLS is not in this version of windrow. Connections are authenticated by the cluster's secret, and not encrypted: "
    "leave security out, and use networks that you trust"
)


class Security:
    """Settings of TLS; to make one is refused.

    Examples
    --------
    >>> Security.temporary()
    Traceback (most recent call last):
        ...
    NotImplementedError: TLS is not in this version of windrow. Connections are authenticated by the cluster's secret, \
and not encrypted: leave security out, and use networks that you trust
    """

    def __init__(self, require_encryption: bool | None = None, **kwargs: Any) -> None:
        raise NotImplementedError(_WORDS)

    @classmethod
    def temporary(cls, **kwargs: Any) -> NoReturn:
        """Refuse to make certificates."""
        raise NotImplementedError(_WORDS)

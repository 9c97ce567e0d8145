"""Environment variables for workers.

What lives here: `Environ`. What this file must never know: how a nanny starts a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.plugins.base import NannyPlugin

__all__ = ["Environ"]


class Environ(NannyPlugin):
    """Sets environment variables in all workers, which are started afresh for it.

    Parameters
    ----------
    environ
        Names and values; values become strings.

    Examples
    --------
    >>> client.register_plugin(Environ({"OMP_NUM_THREADS": 2}))  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': {'status': 'OK'}}
    """

    restart = True

    def __init__(self, environ: Mapping[str, object] | None = None) -> None:
        self.environ = {str(name): str(value) for name, value in (environ or {}).items()}

    def setup(self, nanny: Any) -> None:
        """Have the worker's next process see them."""
        nanny.env.update(self.environ)

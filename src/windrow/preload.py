"""Code that users have a party run at its start and end: modules, files, web addresses, source text.

What lives here: `Preloads`. What this file must never know: what the parties are.

A preload has a function ``dask_setup(party)``, which may be a coroutine function or a click command, and may have a
``dask_teardown(party)``. What goes wrong in one is logged, and the party goes on without it.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from windrow import config

__all__ = ["Preload", "Preloads", "configured"]

logger = logging.getLogger("windrow.preload")


class Preload:
    """One preload of one party.

    Parameters
    ----------
    party
        Whom ``dask_setup`` is called with.
    source
        A module's name, the path of a ``.py`` file, a web address, or source text.
    argv
        Arguments for a ``dask_setup`` that is a click command.
    """

    def __init__(self, party: Any, source: str, argv: Sequence[str] = ()) -> None:
        self.party = party
        self.source = source
        self.argv = list(argv)
        self.module: ModuleType | None = None

    def __repr__(self) -> str:
        return f"<Preload {self.name}>"

    @property
    def name(self) -> str:
        """What people know it by."""
        return "source text" if _is_text(self.source) else self.source

    async def start(self) -> None:
        """Load it, and call its ``dask_setup``."""
        self.module = await _load(self.source)
        setup = getattr(self.module, "dask_setup", None)
        if setup is None:
            return
        if hasattr(setup, "make_context"):  # a click command
            parsed = setup.make_context("dask_setup", list(self.argv), allow_extra_args=False)
            with parsed:
                result = setup.callback(self.party, *parsed.args, **parsed.params)
        else:
            result = setup(self.party)
        if inspect.isawaitable(result):
            await result

    async def teardown(self) -> None:
        """Call its ``dask_teardown``."""
        end = getattr(self.module, "dask_teardown", None)
        if end is not None:
            result = end(self.party)
            if inspect.isawaitable(result):
                await result


class Preloads(list[Preload]):
    """The preloads of one party.

    Parameters
    ----------
    party
        A scheduler, worker, nanny or client.
    sources
        One, or several; see `Preload`.
    argv
        Arguments for all of them, or a list for each.

    Examples
    --------
    >>> import asyncio
    >>> text = "def dask_setup(party):\\n    party.append('set up')"
    >>> party = []
    >>> asyncio.run(Preloads(party, [text]).start())
    >>> party
    ['set up']
    """

    def __init__(self, party: Any, sources: str | Iterable[str] | None, argv: Sequence[Any] | None = None) -> None:
        named = [sources] if isinstance(sources, str) else list(sources or ())
        for source in named:
            if not isinstance(source, str):
                raise TypeError(f"a preload is a str (module, file, address or source text), not {source!r}")
        argvs = _argv_for_each(named, list(argv or ()))
        super().__init__(Preload(party, source, own) for source, own in zip(named, argvs, strict=True))

    async def start(self) -> None:
        """Set all up, in order; what goes wrong is logged."""
        for preload in self:
            try:
                await preload.start()
            except Exception:
                logger.exception("the preload %s could not be set up; without it", preload.name)
            except SystemExit as end:  # how click ends a command whose arguments are wrong
                logger.error("the preload %s ended with code %s; without it", preload.name, end.code)

    async def teardown(self) -> None:
        """Tear all down, the latest first; what goes wrong is logged."""
        for preload in reversed(self):
            try:
                await preload.teardown()
            except Exception:
                logger.exception("the preload %s could not be torn down", preload.name)


def configured(kind: str, sources: Any, argv: Any) -> tuple[Any, Any]:
    """Return preloads and their arguments: what is given, else what is configured for a kind of party.

    Examples
    --------
    >>> configured("worker", None, None)
    ([], [])
    """
    return (
        config.get(f"distributed.{kind}.preload", []) if sources is None else sources,
        config.get(f"distributed.{kind}.preload-argv", []) if argv is None else argv,
    )


def _argv_for_each(sources: list[str], argv: list[Any]) -> list[list[str]]:
    if argv and all(isinstance(own, list | tuple) for own in argv):
        if len(argv) != len(sources):
            raise ValueError(f"there are {len(sources)} preloads, and arguments for {len(argv)}: give each its own")
        return [[str(word) for word in own] for own in argv]
    return [[str(word) for word in argv] for _ in sources]


def _is_text(source: str) -> bool:
    return "\n" in source or "def dask_setup" in source


async def _load(source: str) -> ModuleType:
    if _is_text(source):
        return _run(source, "source text")
    if source.startswith(("http://", "https://")):
        import asyncio

        return _run(await asyncio.to_thread(_fetch, source), source)
    import importlib

    if source.endswith(".py"):
        return _load_file(source)
    return importlib.import_module(source)


def _load_file(path: str) -> ModuleType:
    """Import a file under its own name, anew: it may have changed since another party loaded it."""
    import importlib.util
    import os

    name = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _run(text: str, name: str) -> ModuleType:
    module = ModuleType(f"windrow_preload_{abs(hash(text))}")
    exec(compile(text, f"<preload: {name}>", "exec"), module.__dict__)
    return module


def _fetch(address: str) -> str:
    import urllib.request

    with urllib.request.urlopen(address, timeout=30) as response:  # the user has named it
        body: bytes = response.read()
    return body.decode()

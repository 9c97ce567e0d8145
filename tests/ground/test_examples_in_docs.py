"""The examples in the docstrings of the ground, the wire and the transports run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "windrow.addressing",
    "windrow.config",
    "windrow.errors",
    "windrow.runtime",
    "windrow.security",
    "windrow.system",
    "windrow.transport",
    "windrow.transport.base",
    "windrow.transport.handshake",
    "windrow.transport.inproc",
    "windrow.wire.culprit",
    "windrow.wire.framing",
    "windrow.wire.payload",
    "windrow.wire.program",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    results = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert results.attempted > 0
    assert results.failed == 0

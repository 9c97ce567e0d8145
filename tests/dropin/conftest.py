"""A directory for secrets, and an import system that is as it was, for every test of the drop-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import windrow.dask


@pytest.fixture(autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the secrets of these clusters away from the user's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def installed() -> Iterator[None]:
    """The drop-in, in this process."""
    windrow.dask.install()
    yield
    windrow.dask.uninstall()

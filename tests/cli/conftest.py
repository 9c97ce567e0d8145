from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_help import Terminals


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of the tests' schedulers away from the user's own."""
    directory = tmp_path_factory.mktemp("runtime")
    directory.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory / "windrow"


@pytest.fixture
def terminals(runtime: Path) -> Iterator[Terminals]:
    """Start commands, which end with the test."""
    found = Terminals()
    yield found
    found.close()


@pytest.fixture(scope="module")
def address(runtime: Path) -> Iterator[str]:
    """The address of a scheduler that a module's tests share."""
    found = Terminals()
    yield found.scheduler()[1]
    found.close()

"""Values in a mapping of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windrow.plugins.scratch import Scratch
from windrow.wire import payload
from windrow.worker.keeping import Keeping, new_mapping


class Chest(dict[Any, Any]):
    """A mapping with arguments."""

    def __init__(self, size: int = 0, worker_local_directory: str = "") -> None:
        super().__init__()
        self.size = size
        self.directory = worker_local_directory


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(str(tmp_path / "own"))


def test_a_mapping_is_taken_as_it_is(scratch: Scratch) -> None:
    given = dict[Any, Any]()
    assert new_mapping(given, scratch) is given


@pytest.mark.parametrize(
    ("data", "size"), [(Chest, 0), ((Chest, {"size": 3}), 3), (lambda: Chest(5), 5), ((Chest, {}), 0)]
)
def test_what_makes_a_mapping_is_called(data: Any, size: int, scratch: Scratch) -> None:
    made = new_mapping(data, scratch)
    assert isinstance(made, Chest)
    assert made.size == size


def test_the_workers_directory_is_given_to_those_that_take_it(scratch: Scratch) -> None:
    made: Any = new_mapping(Chest, scratch)
    assert made.directory == scratch.path
    own: Any = new_mapping((Chest, {"worker_local_directory": "/mine"}), scratch)
    assert own.directory == "/mine"


def test_a_directory_is_made_for_those_alone_that_take_it(scratch: Scratch) -> None:
    new_mapping(dict, scratch)
    assert not Path(scratch.planned).exists()


@pytest.mark.parametrize("data", [7, "text", [], (dict, 1, 2), lambda: 7])
def test_what_is_no_mapping_is_refused(data: Any, scratch: Scratch) -> None:
    with pytest.raises(TypeError, match="no mapping"):
        new_mapping(data, scratch)


def test_a_mapping_must_be_empty(scratch: Scratch) -> None:
    with pytest.raises(ValueError, match="must be empty"):
        new_mapping({"x": 1}, scratch)


def test_a_value_made_again_outlives_the_end_of_the_first(scratch: Scratch) -> None:
    due: list[Callable[[], None]] = []
    keeping = Keeping({}, scratch, due.append)
    first = keeping.keep("x", 1, 28)
    del first
    second = keeping.keep("x", 2, 28)
    [delete] = due
    delete()
    assert second.load() == 2
    assert payload.loads(second.pack()) == 2
    del second
    due.pop()()
    assert keeping.mapping == {}

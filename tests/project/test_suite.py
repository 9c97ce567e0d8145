"""The suite itself: what only a run of the whole of it would show."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_modules_have_names_of_their_own():
    """The tests' directories are no packages, so two modules of one name cannot be imported by the same run."""
    paths = [path for path in TESTS.rglob("*.py") if path.name != "conftest.py" and "quickstarts" not in path.parts]
    names = Counter(path.name for path in paths)
    twice = [str(path.relative_to(TESTS)) for path in paths if names[path.name] > 1]
    assert not twice, f"rename all but one: {twice}"

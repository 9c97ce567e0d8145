"""The examples in docstrings run and say what they show."""

import doctest
import importlib
import pkgutil

import pytest

import windrow


def modules() -> list[str]:
    """Every module of the package that can be imported without side effects."""
    found = pkgutil.walk_packages(windrow.__path__, "windrow.")
    return ["windrow", *(each.name for each in found if not each.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0, f"see above, or: python -m doctest {module.__file__}"

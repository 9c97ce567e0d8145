"""What `import windrow` gives and costs: every public name is documented, and nothing heavy is loaded."""

import inspect
import subprocess
import sys

import pytest

import windrow

HEAVY = ["asyncio", "cloudpickle", "dask", "numpy", "psutil", "tblib", "uvloop"]
PROMISED = ["Client", "Future", "LocalCluster", "as_completed", "wait"]


@pytest.mark.parametrize("name", PROMISED)
def test_promised_name_is_public(name: str) -> None:
    assert name in windrow.__all__
    assert name in dir(windrow)
    assert getattr(windrow, name) is not None


def test_every_public_name_exists_and_is_listed_once() -> None:
    assert len(set(windrow.__all__)) == len(windrow.__all__)
    assert [name for name in windrow.__all__ if not hasattr(windrow, name)] == []


def documented(name: str) -> bool:
    value = getattr(windrow, name)
    if inspect.isclass(value) or callable(value):
        return bool(value.__doc__ and value.__doc__.strip())
    return True


def test_every_public_name_has_a_docstring() -> None:
    assert [name for name in windrow.__all__ if not documented(name)] == []


def test_every_public_method_has_a_docstring() -> None:
    bare = []
    for name in windrow.__all__:
        value = getattr(windrow, name)
        if inspect.isclass(value) and value.__module__.startswith("windrow"):
            bare += [
                f"{name}.{part}"
                for part, method in vars(value).items()
                if not part.startswith("_")
                and (inspect.isfunction(method) or isinstance(method, property | classmethod | staticmethod))
                and not inspect.getdoc(getattr(method, "__func__", method))
            ]
    assert bare == []


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        windrow.no_such_name  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    program = f"import sys, windrow; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

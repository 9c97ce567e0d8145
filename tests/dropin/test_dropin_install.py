"""`install` and its opposite: which modules are found, and what becomes of an installed ``distributed``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import pytest
from dropin_help import pretend, python

import windrow
import windrow.dask
from windrow import startup

FRESH = "import windrow.dask; windrow.dask.install()\n"


def test_both_packages_are_windrow(installed: None) -> None:
    import dask
    import dask.distributed
    import distributed

    assert distributed.Client is dask.distributed.Client is windrow.Client
    assert dask.distributed.LocalCluster is windrow.LocalCluster
    assert importlib.util.find_spec("distributed").origin == "windrow"  # type: ignore[union-attr]


def test_it_is_given_back(installed: None) -> None:
    importlib.import_module("distributed.utils")
    importlib.import_module("dask.distributed")
    windrow.dask.uninstall()
    assert not windrow.dask.is_installed()
    assert not [name for name in sys.modules if name.startswith(("distributed", "dask.distributed"))]
    assert not hasattr(sys.modules["dask"], "distributed")
    assert startup.calls() == []
    assert windrow.dask.PATH not in os.environ.get("PYTHONPATH", "")
    assert windrow.dask.PREFIX not in os.environ


def test_again_changes_nothing(installed: None) -> None:
    before = list(sys.meta_path), dict(os.environ)
    windrow.dask.install()
    assert (list(sys.meta_path), dict(os.environ)) == before


def test_an_installed_one_is_not_imported(tmp_path: Path) -> None:
    program = FRESH + (
        "import distributed, distributed.utils, dask.distributed\n"
        "print(distributed.Client.__module__, hasattr(distributed.utils, 'theirs'))\n"
        "windrow.dask.uninstall()\n"
        "import distributed\nprint(distributed.Client.theirs)"
    )
    said = python("-c", program, path=pretend(tmp_path))
    assert said == "windrow.client.client False\nTrue\n"


def test_an_installed_one_that_is_imported_already_is_told(tmp_path: Path) -> None:
    program = (
        f"import distributed, distributed.utils\nfrom distributed import Client as theirs\n{FRESH}import distributed\n"
        "print(distributed.Client is not theirs, distributed.Client.__module__)\n"
        "windrow.dask.uninstall()\n"
        "print(sys.modules['distributed'].Client is theirs, sys.modules['distributed.utils'].theirs)"
    )
    said = python("-W", "always", "-c", f"import sys\n{program}", path=pretend(tmp_path))
    assert "RuntimeWarning: distributed 2020.1.0 was imported before windrow.dask.install()" in said
    assert "python -m windrow.dask" in said
    assert said.endswith("True windrow.client.client\nTrue True\n")


def test_dask_that_has_looked_before_looks_again() -> None:
    program = (
        "import dask.base\nprint(dask.base._distributed_available())\n" + FRESH + "from windrow import Client\n"
        "with Client(n_workers=1, processes=False, dashboard_address=None) as client:\n"
        "    print(dask.base.get_scheduler(scheduler='distributed') == client.get)\n"
    )
    assert python("-c", program).split() == ["False", "True"] or "distributed" in sys.modules


def test_child_processes_follow() -> None:
    child = "import dask.distributed as d, distributed.utils; print(d.Client.__module__, d is not None)"
    program = FRESH + f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert python("-c", program) == "windrow.client.client True\n"


def test_another_python_finds_its_own(tmp_path: Path) -> None:
    child = "import distributed, distributed.utils; print(distributed.Client.theirs, distributed.utils.theirs)"
    program = FRESH + (
        "import os, subprocess, sys\nos.environ[windrow.dask.PREFIX] = '/another'\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    assert python("-c", program, path=pretend(tmp_path)) == "True True\n"


def test_workers_follow_before_they_load_anything(tmp_path: Path) -> None:
    site = pretend(tmp_path)
    (site / "users.py").write_text(
        "import distributed\nfrom distributed import get_worker\n"
        "def where():\n    return distributed.Client.__module__, type(get_worker()).__module__\n"
    )
    program = FRESH + (
        "from dask.distributed import Client, LocalCluster\nimport users\n"
        "with LocalCluster(n_workers=1, dashboard_address=None) as cluster, Client(cluster) as client:\n"
        "    print(*client.submit(users.where).result())\n"
    )
    said = python("-c", program, path=site)
    assert said == "windrow.client.client windrow.worker.worker\n"


def test_parties_in_subprocesses_follow() -> None:
    program = FRESH + (
        "from dask.distributed import Client, SubprocessCluster\n"
        "def where():\n    import distributed\n    return distributed.Client.__module__\n"
        "if __name__ == '__main__':\n"
        "    with SubprocessCluster(n_workers=1) as cluster, Client(cluster) as client:\n"
        "        print(client.submit(where).result(), client.run_on_scheduler(where))\n"
    )
    assert python("-c", program) == "windrow.client.client windrow.client.client\n"


def test_a_notebook_loads_it_as_an_extension() -> None:
    try:
        windrow.dask.load_ipython_extension(object())
        assert windrow.dask.is_installed()
    finally:
        windrow.dask.unload_ipython_extension(object())
    assert not windrow.dask.is_installed()


def test_it_costs_next_to_nothing_until_a_name_is_asked_for() -> None:
    program = FRESH + "import sys; print(sorted(m for m in sys.modules if m.startswith(('dask', 'windrow.client'))))"
    assert python("-c", program) == "[]\n"


@pytest.mark.parametrize("module", ["distributed.shuffle", "distributed.nowhere", "dask.distributed.nowhere"])
def test_a_module_that_is_not_there_says_so(installed: None, module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="windrow is in the place of distributed here") as caught:
        importlib.import_module(module)
    assert caught.value.name == module


def test_futures_take_attributes_of_the_programs_own() -> None:
    program = FRESH + (
        "from dask.distributed import Client, Future\n"
        "with Client(n_workers=1, processes=False, dashboard_address=None) as client:\n"
        "    one, *_, two = client.submit(sum, [1]), *client.map(abs, [1, 2])\n"
        "    one.tag = two.tag = 'mine'\n"
        "    print(isinstance(one, Future), client.gather([one, two]), client.submit(sum, [one, two]).result())\n"
        "    windrow.dask.uninstall()\n"
        "    print(hasattr(client.submit(sum, [2]), '__dict__'))\n"
    )
    assert python("-c", program) == "True [1, 2] 3\nFalse\n"

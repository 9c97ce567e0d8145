"""Other libraries' quickstarts for ``dask.distributed``, word for word on windrow: ``make test-ecosystem``."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "quickstarts"
LIMIT_S = 600.0

NEEDS = {
    "dask_ml_fit": ["dask_ml"],
    "jobqueue_local": ["dask_jobqueue"],
    "joblib_search": ["joblib", "sklearn"],
    "lightgbm_train": ["lightgbm"],
    "optuna_study": ["optuna", "optuna_integration"],
    "prefect_flow": ["prefect_dask"],
    "streamz_dask": ["streamz"],
    "xarray_chunks": ["xarray", "h5netcdf", "h5py"],
    "xgboost_train": ["xgboost"],
}


def test_every_quickstart_is_run() -> None:
    assert sorted(NEEDS) == sorted(path.stem for path in HERE.glob("*.py"))


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Run a server of prefect's for all processes of a flow: without one each of them starts its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    env = {**os.environ, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + LIMIT_S / 2
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=10):
                    break
            except OSError:
                assert server.poll() is None, (home / "server.log").read_text()
                assert time.monotonic() < end, (home / "server.log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.timeout(LIMIT_S + 10)
@pytest.mark.parametrize("name", sorted(NEEDS))
def test_quickstart(name: str, tmp_path: Path) -> None:
    missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    run = tmp_path / "run"
    run.mkdir()
    if name.startswith("prefect"):
        with prefect_server(tmp_path) as url:
            succeeds(name, tmp_path, PREFECT_API_URL=url)
    else:
        succeeds(name, tmp_path)


def succeeds(name: str, tmp_path: Path, **env: str) -> None:
    """Run a quickstart to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "windrow.dask", str(HERE / f"{name}.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        cwd=tmp_path,
        env={
            **os.environ,
            "XDG_RUNTIME_DIR": str(tmp_path / "run"),
            "PREFECT_HOME": str(tmp_path),
            "DO_NOT_TRACK": "1",
            **env,
        },
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "done" in done.stdout.split()

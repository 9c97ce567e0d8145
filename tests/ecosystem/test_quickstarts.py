"""Other libraries' quickstarts for ``dask.distributed``, word for word on windrow: ``make test-ecosystem``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "quickstarts"
LIMIT_S = 240.0

NEEDS = {
    "dask_ml_fit": ["dask_ml"],
    "jobqueue_local": ["dask_jobqueue"],
    "joblib_search": ["joblib", "sklearn"],
    "lightgbm_train": ["lightgbm"],
    "prefect_flow": ["prefect_dask"],
    "xarray_chunks": ["xarray", "h5netcdf", "h5py"],
    "xgboost_train": ["xgboost"],
}


def test_every_quickstart_is_run() -> None:
    assert sorted(NEEDS) == sorted(path.stem for path in HERE.glob("*.py"))


@pytest.mark.timeout(LIMIT_S + 10)
@pytest.mark.parametrize("name", sorted(NEEDS))
def test_quickstart(name: str, tmp_path: Path) -> None:
    missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    run = tmp_path / "run"
    run.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "windrow.dask", str(HERE / f"{name}.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        cwd=tmp_path,
        env={
            **os.environ,
            "XDG_RUNTIME_DIR": str(run),
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "DO_NOT_TRACK": "1",
        },
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "done" in done.stdout.split()

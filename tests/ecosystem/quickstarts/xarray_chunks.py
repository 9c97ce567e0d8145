"""xarray with chunks: lazy arithmetic, apply_ufunc, and files written by several workers under one lock."""

import sys

import dask
import numpy as np
import xarray as xr
from dask.distributed import Client, Lock, wait
from dask.utils import SerializableLock
from xarray.backends.locks import HDF5_LOCK, combine_locks, get_dask_scheduler


def write(number, lock):
    with lock:
        return number


if __name__ == "__main__":
    client = Client(n_workers=2, threads_per_worker=2, dashboard_address=None)
    data = xr.DataArray(np.arange(10_000.0).reshape(100, 100), dims=("y", "x"), name="t").chunk({"y": 10})
    assert get_dask_scheduler() == "distributed"
    assert float((data - data.mean("y")).sum()) == 0
    kept = data.rolling(y=3).mean().persist()
    wait(kept)
    assert float(kept.sum()) == float(data.rolling(y=3).mean().sum())
    doubled = xr.apply_ufunc(lambda block: block * 2, data, dask="parallelized", output_dtypes=[float])
    assert float(doubled.max()) == 2 * 9_999
    grouped = data.groupby(data.y % 2 if "y" in data.coords else xr.DataArray(np.arange(100) % 2, dims="y")).mean()
    assert grouped.shape == (2, 100)
    path = sys.argv[1] + "/t.nc"
    data.to_dataset().to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, chunks={"y": 25}, engine="h5netcdf") as back:
        assert float(back.t.sum()) == float(data.sum())
    with Lock("t"):
        assert Lock("t").locked()
        assert not Lock("t").acquire(blocking=False)
    # In each task other copies: all take all three in one order.
    lock = combine_locks([HDF5_LOCK, SerializableLock("dask's"), Lock("file")])
    writes = client.map(write, range(200), lock=lock)
    assert wait(writes, timeout=60).done == set(writes)
    with dask.config.set(scheduler="synchronous"):
        assert get_dask_scheduler() != "distributed"
    client.close()
    print("done")

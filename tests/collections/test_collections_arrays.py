"""Arrays give on the cluster what they give with threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import collection_tasks as tasks
import dask
import dask.array as da
import numpy as np
import pytest
from collection_help import agree, cases, same
from dask.array.utils import assert_eq

from windrow import Client


@pytest.fixture
def arrays(grid: np.ndarray, cube: np.ndarray) -> SimpleNamespace:
    """An array `x` of two dimensions, one `t` of three, a vector `v`."""
    return SimpleNamespace(
        x=da.from_array(grid, chunks=(20, 16)),
        t=da.from_array(cube, chunks=(6, 5, 4)),
        v=da.arange(1000, chunks=77),
        grid=grid,
    )


def _row_means(block: np.ndarray) -> np.ndarray:
    return block.mean(axis=-1)


def _index_of_block(block: np.ndarray, block_info: Any = None) -> np.ndarray:
    return block + 1000 * block_info[0]["chunk-location"][0]


def _ufunc_out(a: SimpleNamespace) -> Any:
    target = da.zeros_like(a.x)
    np.exp(a.x, out=target)
    return target


def _set_items(a: SimpleNamespace) -> Any:
    changed = a.x.copy()
    changed[changed < 0] = 0
    changed[3:7, ::2] = 5
    return changed


OPERATIONS: dict[str, Callable[[SimpleNamespace], Any]] = {
    # elementwise
    "arithmetic": lambda a: (a.x * 2 - a.x / 3 + 1) ** 2,
    "ufuncs": lambda a: np.sin(a.x) + da.exp(-(a.x**2)) + np.hypot(a.x, 1),
    "ufunc_out": _ufunc_out,
    "comparison": lambda a: (a.x > 0) & (a.x < 1),
    "where": lambda a: da.where(a.x > 0, a.x, -1),
    "clip_round": lambda a: a.x.clip(-1, 1).round(2),
    "astype": lambda a: a.t.astype("f4") / 7,
    "broadcast": lambda a: a.x + a.x[0] + a.x[:, :1],
    "modf": lambda a: da.modf(a.x),
    "isnan": lambda a: da.isnan(_with_gaps(a)),
    "divmod": lambda a: divmod(a.t, 7),
    # reductions
    "sum": lambda a: a.x.sum(),
    "mean_over_axes": lambda a: [a.t.mean(axis=0), a.t.mean(axis=(1, 2)), a.t.mean(axis=1, keepdims=True)],
    "std_var": lambda a: [a.x.std(axis=1), a.x.var(ddof=1)],
    "minmax": lambda a: [a.t.min(), a.t.max(axis=2), da.ptp(a.x, axis=0)],
    "arg": lambda a: [a.x.argmin(axis=0), a.x.argmax(axis=1), a.x.argmax()],
    "nan_reductions": lambda a: [
        da.nansum(_with_gaps(a), axis=0),
        da.nanmean(_with_gaps(a)),
        da.nanargmax(a.x, axis=0),
    ],
    "any_all": lambda a: [(a.t > 48).any(axis=0), (a.t > -60).all()],
    "cumulative": lambda a: [a.x.cumsum(axis=0), a.t.cumprod(axis=2), da.diff(a.x, axis=1)],
    "narrow_split": lambda a: a.x.sum(split_every=2),
    "median_over_axis": lambda a: da.median(a.x, axis=0),
    "topk": lambda a: a.v.topk(5),
    "unique_bincount": lambda a: [da.unique(a.t), da.bincount(a.v % 7)],
    "histogram": lambda a: da.histogram(a.x, bins=12, range=(-3, 3))[0],
    "histogram_weights": lambda a: da.histogram(a.v, bins=[0, 10, 500, 1000], weights=a.v % 3)[0],
    "histogram_of_many_dimensions": lambda a: da.histogramdd(
        a.x[:, :3].rechunk((20, 3)), bins=(3, 3, 3), range=((-3, 3),) * 3
    )[0],
    "percentile": lambda a: da.percentile(a.v, [10, 50, 99]),
    "norm": lambda a: da.linalg.norm(a.x),
    "corrcoef": lambda a: da.corrcoef(a.x),
    # shape
    "slices": lambda a: [a.x[3:40:4, ::-1], a.x[7], a.x[..., -1], a.t[:, None, 2]],
    "fancy": lambda a: [a.x[[5, 3, 59, 3]], a.x[:, [True, False] * 24], a.v[a.v % 5 == 0], a.x.vindex[[1, 2], [3, 4]]],
    "take_by_array": lambda a: a.v[da.from_array(np.arange(0, 1000, 50), chunks=7)],
    "set_items": _set_items,
    "blocks": lambda a: a.x.blocks[1:, 0],
    "transpose_and_add": lambda a: a.x[:48] + a.x[:48].T,
    "transposes": lambda a: [a.t.transpose(2, 0, 1), da.moveaxis(a.t, 0, -1), da.swapaxes(a.t, 0, 1)],
    "reshape": lambda a: [a.x.reshape(6, 10, 48), a.t.ravel(), da.squeeze(a.t[:1])],
    "rechunk": lambda a: [a.x.rechunk((7, 48)), a.x.rechunk((60, 5)).rechunk(11), a.t.rechunk({0: -1})],
    "stack_concatenate": lambda a: [
        da.stack([a.x, 2 * a.x], axis=1),
        da.concatenate([a.x, a.x[:5]], axis=0),
        da.block([[a.x, a.x], [a.x, a.x]]),
    ],
    "roll_flip_pad": lambda a: [da.roll(a.x, 7, axis=0), da.flip(a.x, 1), da.pad(a.x, 3, mode="reflect")],
    "repeat_tile": lambda a: [da.repeat(a.x, 2, axis=0), da.tile(a.v[:10], 3)],
    "tri": lambda a: [da.tril(a.x[:48]), da.triu(a.x[:48]), da.diag(a.x[0])],
    "coarsen": lambda a: da.coarsen(np.mean, a.x, {0: 2, 1: 4}),
    "nonzero": lambda a: da.nonzero(a.t > 45),
    # linear algebra
    "matmul": lambda a: a.x.T @ a.x,
    "matmul_of_many": lambda a: da.matmul(a.t, a.t.transpose(0, 2, 1)),
    "tensordot_einsum": lambda a: [da.tensordot(a.t, a.t, axes=((1, 2), (1, 2))), da.einsum("ij,kj->ik", a.x, a.x)],
    "outer_dot_vdot": lambda a: [da.outer(a.v[:20], a.v[:20]), da.dot(a.x[0], a.x[1]), da.vdot(a.v, a.v)],
    # functions of blocks
    "map_blocks": lambda a: [
        a.x.map_blocks(np.flip, dtype=a.x.dtype),
        a.x.map_blocks(_index_of_block, dtype=a.x.dtype),
        da.map_blocks(tasks.add, a.x, a.x[:1], dtype=a.x.dtype, chunks=a.x.chunks),
    ],
    "map_blocks_drops_axis": lambda a: a.x.rechunk((20, 48)).map_blocks(_row_means, drop_axis=1, dtype=a.x.dtype),
    "overlap": lambda a: a.x.map_overlap(lambda b: b - np.roll(b, 1, axis=0), depth={0: 1, 1: 0}, boundary="reflect"),
    "overlap_of_many": lambda a: da.map_overlap(
        tasks.add, a.v[:300], a.v[300:600], depth=2, boundary="periodic", dtype="i8"
    ),
    "apply_gufunc": lambda a: da.apply_gufunc(
        lambda b: (b.mean(axis=-1), b.std(axis=-1)), "(i)->(),()", a.x.rechunk((20, 48)), output_dtypes=(float, float)
    ),
    "apply_along_axis": lambda a: da.apply_along_axis(np.sort, 1, a.x),
    "apply_over_axes": lambda a: da.apply_over_axes(np.sum, a.t, [0, 2]),
    "blockwise": lambda a: da.blockwise(tasks.add, "ij", a.x, "ij", a.x[0], "j", dtype=a.x.dtype),
    "reduction": lambda a: da.reduction(a.x, chunk=np.max, aggregate=np.max, axis=0, dtype=a.x.dtype),
    "fft": lambda a: da.fft.fft(a.x.rechunk((20, 48)), axis=1),
    # other kinds of blocks
    "masked": lambda a: [
        da.ma.masked_less(a.x, 0),
        da.ma.masked_less(a.x, 0).mean(axis=0),
        da.ma.filled(da.ma.masked_greater(a.x, 1), -5),
        da.ma.getmaskarray(da.ma.masked_inside(a.x, -1, 0)),
    ],
    "structured": lambda a: da.from_array(np.array([(1, 2.0), (3, 4.0)], dtype=[("n", "i4"), ("f", "f8")]), chunks=1),
    "texts": lambda a: da.from_array(np.array(["one", "two", "three"]), chunks=2),
    "objects": lambda a: da.from_array(np.array([{"a": 1}, None, [2]], dtype=object), chunks=2),
    "complex": lambda a: da.absolute(a.x + 1j * a.x[::-1]),
    "dates": lambda a: (
        da.from_array(np.arange("2024-01", "2024-03", dtype="M8[D]"), chunks=10) + np.timedelta64(1, "h")
    ),
    "empty": lambda a: [a.x[:0], a.x[:0].sum(), a.v[a.v < 0]],
    # where they come from
    "random": lambda a: da.random.default_rng(7).normal(size=(100, 30), chunks=(30, 10)),
    "random_of_state": lambda a: da.random.RandomState(7).randint(0, 9, size=1000, chunks=100).sum(),
    "ranges": lambda a: [da.linspace(0, 1, 50, chunks=13), da.eye(30, chunks=7), da.indices((4, 5), chunks=2)],
    "from_function": lambda a: da.fromfunction(lambda i, j: i * j, shape=(20, 20), chunks=7, dtype=float),
    "from_delayed": lambda a: da.from_delayed(dask.delayed(np.arange)(10), shape=(10,), dtype=int) + 1,
    "from_scalar": lambda a: da.asarray(5) + a.t,
    "from_function_of_array": lambda a: da.from_array(a.grid, chunks=-1, asarray=False, inline_array=True) + 1,
}


def _with_gaps(a: SimpleNamespace) -> Any:
    return da.where(a.x < 0, np.nan, a.x)


@cases(OPERATIONS)
def test_operations(client: Client, arrays: SimpleNamespace, build: Callable[[SimpleNamespace], Any]) -> None:
    made = build(arrays)
    agree(client, *(made if isinstance(made, list | tuple) else [made]))


def test_decompositions(client: Client, grid: np.ndarray) -> None:
    x = da.from_array(np.tile(grid[:, :6], (5, 1)) + np.arange(300)[:, None], chunks=(50, 6))
    agree(client, *da.linalg.qr(x), *da.linalg.svd(x))
    agree(client, *da.linalg.svd_compressed(x, 3, seed=5))


def test_the_checks_of_dask_itself_hold(client: Client, arrays: SimpleNamespace, grid: np.ndarray) -> None:
    assert_eq(arrays.x + 1, grid + 1, scheduler=client)
    assert_eq((arrays.x @ arrays.x.T).sum(axis=0), (grid @ grid.T).sum(axis=0), scheduler=client)
    assert_eq(arrays.x[::7].persist(), grid[::7], scheduler=client)


def test_unknown_chunks_become_known(client: Client, arrays: SimpleNamespace) -> None:
    odd = arrays.v[arrays.v % 3 == 1]
    assert np.isnan(odd.shape[0])
    odd.compute_chunk_sizes()
    assert odd.shape == (333,)
    agree(client, odd.reshape(3, 111))


@pytest.mark.parametrize("lock", [True, False])
def test_store(client: Client, arrays: SimpleNamespace, grid: np.ndarray, tmp_path: Path, lock: bool) -> None:
    shelves = [tasks.Shelf(tmp_path / f"{number}.npy", grid.shape) for number in range(2)]
    da.store([arrays.x, arrays.x * 2], shelves, lock=lock)
    same(shelves[0][:], grid)
    same(shelves[1][:], grid * 2)


def test_store_of_a_region_that_is_read_back(
    client: Client, arrays: SimpleNamespace, grid: np.ndarray, tmp_path: Path
) -> None:
    shelf = tasks.Shelf(tmp_path / "shelf.npy", (100, 100))
    stored = arrays.x.store(shelf, regions=(slice(10, 70), slice(2, 50)), return_stored=True)
    same((stored + 1).compute(), grid + 1)
    assert np.isnan(shelf[:]).sum() == 100 * 100 - grid.size


def test_store_that_is_computed_later(
    client: Client, arrays: SimpleNamespace, grid: np.ndarray, tmp_path: Path
) -> None:
    shelf = tasks.Shelf(tmp_path / "shelf.npy", grid.shape)
    later = arrays.x.store(shelf, compute=False)
    assert np.isnan(shelf[:]).all()
    client.compute(later, sync=True)
    same(shelf[:], grid)


def test_npy_stack(client: Client, arrays: SimpleNamespace, tmp_path: Path) -> None:
    da.to_npy_stack(str(tmp_path / "stack"), arrays.x, axis=0)
    agree(client, da.from_npy_stack(str(tmp_path / "stack")))


def test_operations_with_threads_as_workers(client_of_threads: Client, arrays: SimpleNamespace) -> None:
    agree(client_of_threads, arrays.x @ arrays.x.T, arrays.t.mean(axis=0), arrays.x.rechunk((7, 48)))


def test_climatology(client: Client) -> None:
    """Means by month, and what differs from them: a graph of many slices, as xarray makes them."""
    series = da.random.default_rng(365).normal(size=(4 * 12, 5, 6), chunks=(12, 5, 3))
    means = [series[month::12].mean(axis=0) for month in range(12)]
    anomalies = da.stack([series[month::12] - means[month] for month in range(12)])
    agree(client, anomalies.std(axis=(2, 3)), da.stack(means))

"""How the tests of this directory compare results and wait."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from collection_tasks import LIMIT_S, POLL_S

from windrow import Client


def agree(client: Client, *collections: Any, ordered: bool = True, twice: bool = True) -> None:
    """Compute with threads, and with the client as Dask's default; results must be the same.

    With ``ordered=False`` rows of tables may come in any order, as after a shuffle. Unless ``twice`` is false, also
    by the client's own method, where each collection becomes one result on the cluster.
    """
    expected = dask.compute(*collections, scheduler="threads")
    same(dask.compute(*collections), expected, ordered)
    if twice:
        same(client.compute(list(collections), sync=True), list(expected), ordered)


def same(got: Any, expected: Any, ordered: bool = True) -> None:
    """Check that two results are of the same type, shape and content."""
    assert type(got) is type(expected)
    if isinstance(expected, pd.DataFrame | pd.Series):
        if not ordered:
            got, expected = in_order(got), in_order(expected)
        check = pd.testing.assert_frame_equal if isinstance(expected, pd.DataFrame) else pd.testing.assert_series_equal
        check(got, expected)  # type: ignore[operator]
    elif isinstance(expected, pd.Index):
        pd.testing.assert_index_equal(got, expected)
    elif isinstance(expected, np.ma.MaskedArray):
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))
        same(got.filled(0), expected.filled(0))
    elif isinstance(expected, np.ndarray):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if expected.dtype.kind in "fc":
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(got, expected)
    elif isinstance(expected, Mapping):
        same(list(got), list(expected))
        same(list(got.values()), list(expected.values()), ordered)
    elif isinstance(expected, Sequence) and not isinstance(expected, str | bytes):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            same(one, other, ordered)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-9, nan_ok=True)
    else:
        assert got == expected


def in_order(table: Any) -> Any:
    """Sort the rows of a table by all that is in them."""
    frame = table.reset_index() if isinstance(table, pd.DataFrame) else table.rename("value").reset_index()
    return frame.sort_values(list(frame.columns), ignore_index=True)


def cases(builders: Mapping[str, Callable[..., Any]]) -> pytest.MarkDecorator:
    """Run a test for each entry of a table of functions that build collections."""
    return pytest.mark.parametrize("build", list(builders.values()), ids=list(builders))


def in_memory(client: Client) -> set[Any]:
    """Return the keys of results that workers hold."""
    return {key for key, holders in client.who_has().items() if holders}


def until(happens: Callable[[], object], what: str = "", limit_s: float = LIMIT_S, collect: bool = True) -> None:
    """Wait for a condition that nothing announces, and that garbage may hinder."""
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or happens}"
        if collect:
            gc.collect()
        time.sleep(POLL_S)

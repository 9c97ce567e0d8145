"""Sizes of values: exact for the commonplace, dask's for the rest, a guess where a class resists."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from windrow.worker.sizes import size_of


@pytest.mark.parametrize("value", [None, True, 7, 1.5, 1j])
def test_numbers_are_small(value: object) -> None:
    assert 0 < size_of(value) <= 32


@pytest.mark.parametrize("value", [b"x" * 10_000, "x" * 10_000, bytearray(10_000)])
def test_flat_values_are_as_long_as_they_are(value: object) -> None:
    assert 10_000 <= size_of(value) < 10_200


def test_arrays_say_their_size_themselves() -> None:
    assert size_of(np.zeros(1000)) == 8000


def test_short_tuples_are_sums() -> None:
    assert 20_000 < size_of((b"x" * 10_000, (1, b"x" * 10_000))) < 20_500


def test_lists_and_dicts_are_measured_with_what_is_in_them() -> None:
    assert size_of([b"x" * 10_000] * 3) > 10_000
    assert size_of({"x": b"x" * 10_000}) > 10_000


class Resists:
    """Raises when it is asked."""

    def __sizeof__(self) -> int:
        raise ValueError("how rude")


class Lies:
    """Says that its size is no number."""

    nbytes = "many"


@pytest.mark.parametrize("value", [Resists(), Lies()])
def test_a_class_that_resists_gets_a_guess(value: object) -> None:
    assert 0 < size_of(value) < 10_000


def test_a_property_that_raises_gets_a_guess() -> None:
    class Raises:
        @property
        def nbytes(self) -> int:
            raise ValueError("how rude")

    assert size_of(Raises()) > 0


def test_commonplace_values_do_not_import_dask() -> None:
    code = (
        "import sys; from windrow.worker.sizes import size_of; size_of((1, 'x')); size_of(b''); "
        "sys.exit('dask' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0

"""Payloads: what goes in comes out, the fast form stays fast, futures become positions, failures name the part."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import traceback
import types
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from windrow.errors import PickleError
from windrow.wire import payload
from windrow.wire.blobs import Attached, Blob, Buffer
from windrow.wire.payload import VAST_BYTES, collecting, digest, dumps, loads, nbytes, refer, resolving


class FakeFuture:
    """Pickles as a real one is to."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __reduce__(self) -> tuple[object, ...]:
        return refer(self.key) or (FakeFuture, (self.key,))


@pytest.mark.parametrize("value", [None, ((1,), {}), {"x": [1, 2.5, "y"]}, b"z" * 100_000, os.path.join, 3 + 4j])
def test_values_come_back(value: object) -> None:
    assert loads(dumps(value)) == value


def test_small_things_are_plain_bytes() -> None:
    assert type(dumps(((1, "x"), {}))) is bytes
    assert type(dumps(np.arange(10))) is bytes
    assert type(dumps([np.arange(10)] * 3)) is bytes


def test_a_large_stream_is_attached() -> None:
    blob = dumps("x" * 100_000)
    assert type(blob) is Attached
    assert len(blob.frames) == 1
    assert nbytes(blob) > 100_000


def test_large_arrays_are_out_of_band_and_small_ones_beside_them_are_not() -> None:
    value = (np.arange(20_000.0), np.arange(5), np.ones((300, 300), order="F"))
    blob = dumps(value)
    assert type(blob) is Attached
    assert [len(buffer.data) for buffer in blob.frames[1:]] == [160_000, 720_000]
    for got, sent in zip(loads(blob), value, strict=True):  # type: ignore[call-overload]
        assert (got == sent).all()
        assert got.flags.writeable


def test_arrays_that_are_not_contiguous() -> None:
    value = np.arange(100_000).reshape(100, 1000)[:, ::3]
    assert (loads(dumps(value)) == value).all()  # type: ignore[attr-defined]


def test_a_blob_is_a_copy_unless_borrowed() -> None:
    array = np.zeros(10_000)
    kept, borrowed = dumps(array), dumps(array, borrow=True)
    array[0] = 7
    assert loads(kept)[0] == 0  # type: ignore[index]
    assert loads(borrowed)[0] == 7  # type: ignore[index]


def test_loading_never_gives_away_the_memory_of_others() -> None:
    array = np.zeros(10_000)
    for blob in (dumps(array), dumps(array, borrow=True)):
        first = loads(blob)
        first[0] = 9  # type: ignore[index]
        assert loads(blob)[0] == 0  # type: ignore[index]
    assert array[0] == 0


def test_received_memory_is_handed_over_unless_a_copy_is_asked_for() -> None:
    blob = dumps(np.zeros(10_000))
    assert type(blob) is Attached
    received = Attached([Buffer(bytearray(buffer.data)) for buffer in blob.frames])
    copied, handed_over = loads(received, copy=True), loads(received)
    handed_over[0] = 5  # type: ignore[index]
    assert copied[0] == 0  # type: ignore[index]
    assert loads(received)[0] == 5  # type: ignore[index]


def test_what_a_main_module_defines_goes_by_value() -> None:
    script = (
        "import sys\n"
        "from windrow.wire.payload import dumps\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "def double(x): return 2 * x\n"
        "sys.stdout.buffer.write(dumps((double, Point(3))))\n"
    )
    blob = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    double, point = loads(blob)  # type: ignore[misc]
    assert (double(4), point.x, type(point).__name__) == (8, 3, "Point")


def test_modules_registered_with_cloudpickle_go_by_value() -> None:
    module = types.ModuleType("registered_module")
    exec("def triple(x): return 3 * x", module.__dict__)
    sys.modules["registered_module"] = module
    cloudpickle.register_pickle_by_value(module)
    try:
        blob = dumps(module.triple)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules["registered_module"]
    assert loads(blob)(5) == 15  # type: ignore[operator]


def test_lambdas_and_their_arrays() -> None:
    array = np.arange(20_000)
    blob = dumps(lambda: array.sum())
    assert type(blob) is Attached
    assert loads(blob)() == array.sum()  # type: ignore[operator]


def written_in(file: str, source: str) -> object:
    """What a source defines last, in a module that nobody can import."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    return list(names.values())[-1]


def test_code_keeps_the_files_that_it_is_from(tmp_path: Path) -> None:
    script = tmp_path / "a script é.py"
    script.write_text("def fail(x):\n    return 1 / x  # here\n")
    fail = written_in(str(script), script.read_text())
    helper = written_in("<cell-7>", "def make():\n    def inner(): return 1\n    return inner")
    blob = dumps([fail, helper, np.arange(20_000)])
    assert type(blob) is Attached
    got_fail, got_helper, array = loads(blob)  # type: ignore[misc]
    assert (got_helper.__code__.co_filename, got_helper().__code__.co_filename) == ("<cell-7>", "<cell-7>")
    assert array.sum() == 199_990_000
    with pytest.raises(ZeroDivisionError) as caught:
        got_fail(0)
    told = "".join(traceback.format_tb(caught.value.__traceback__))
    assert f'File "{script}", line 2, in fail' in told
    assert "return 1 / x  # here" in told


def test_the_names_of_files_do_not_count_in_digests() -> None:
    def of(file: str, source: str, *more: object) -> str:
        hasher = hashlib.sha256()
        digest(dumps((written_in(file, source), *more)), hasher)
        return hasher.hexdigest()

    source = "def double(x): return 2 * x"
    array = np.arange(20_000)
    assert of("<cell-1>", source) == of("/tmp/kernel_1234567/some/longer/name e0.py", source)
    assert of("<cell-1>", source, array) == of("<cell-22>", source, array)
    assert of("<cell-1>", source) != of("<cell-1>", "def double(x): return 3 * x")


def test_a_failure_names_what_and_which_part() -> None:
    with pytest.raises(PickleError) as caught:
        dumps(((1, {"x": threading.Lock()}), {}), "args of 'inc'")
    assert caught.value.what == "args of 'inc'"
    assert caught.value.culprit == "args[1]['x']: _thread.lock"
    assert "cannot pickle" in caught.value.cause


class Reluctant:
    def __reduce__(self) -> str:
        raise ZeroDivisionError("not today")


def test_a_reduction_that_raises_anything() -> None:
    with pytest.raises(PickleError, match=r"value\[0\]: .*Reluctant \(not today\)"):
        dumps([Reluctant()])


def test_a_structure_too_deep() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PickleError, match="recursion"):
        dumps(deep)


def test_futures_become_positions_and_values_again() -> None:
    x, y = FakeFuture("x"), FakeFuture("y")
    with collecting() as inputs:
        blob = dumps((([x, {"a": (y, x)}],), {"k": y}))
        assert inputs.take() == ["x", "y"]
        plain = dumps(((1,), {}))
        assert inputs.take() == ()
        other = dumps(((y,), {}))
        assert list(inputs) == ["y"]
    with resolving(["X", "Y"]):
        assert loads(blob) == ((["X", {"a": ("Y", "X")}],), {"k": "Y"})
        with resolving(["only"]):
            assert loads(other) == (("only",), {})
        assert loads(plain) == ((1,), {})


def test_futures_inside_what_only_cloudpickle_can() -> None:
    x = FakeFuture("x")
    with collecting() as inputs:
        blob = dumps(((lambda: x,), {}))
        assert inputs.take() == ["x"]
    with resolving(["X"]):
        (function,), _ = loads(blob)  # type: ignore[misc]
    assert function() == "X"


def test_collections_nest_and_belong_to_their_thread() -> None:
    elsewhere: list[object] = []
    with collecting() as outer:
        refer("a")
        with collecting() as inner:
            refer("b")
        refer("c")
        thread = threading.Thread(target=lambda: elsewhere.append(refer("d")))
        thread.start()
        thread.join()
    assert (list(outer), list(inner), elsewhere, refer("e")) == (["a", "c"], ["b"], [None], None)


def test_a_failure_starts_the_collection_afresh() -> None:
    with collecting() as inputs:
        with pytest.raises(PickleError):
            dumps(((FakeFuture("x"), threading.Lock()), {}))
        assert inputs.take() == ()


def test_many_inputs_are_collected_once_each() -> None:
    futures = [FakeFuture(str(n)) for n in range(3_000)]
    with collecting() as inputs:
        dumps([futures, [FakeFuture(str(n)) for n in range(3_000)]])
        assert inputs.take() == [str(n) for n in range(3_000)]


def test_a_position_without_values_says_so() -> None:
    with collecting():
        blob = dumps(FakeFuture("x"))
    with pytest.raises(RuntimeError, match="no inputs are at hand"):
        loads(blob)
    with resolving(()), pytest.raises(RuntimeError, match="there are 0"):
        loads(blob)


def test_a_future_outside_a_collection_is_an_object_like_others() -> None:
    assert loads(dumps(FakeFuture("x"))).key == "x"  # type: ignore[attr-defined]


def test_digests_tell_contents_and_cuts_apart() -> None:
    def of(*parts: bytes) -> str:
        hasher = hashlib.sha256()
        digest(Attached([Buffer(part) for part in parts]) if len(parts) > 1 else parts[0], hasher)
        return hasher.hexdigest()

    assert of(b"ab") == hashlib.sha256(b"ab").hexdigest()
    assert len({of(b"a", b"bc"), of(b"ab", b"c"), of(b"a", b"b", b"c")}) == 3
    assert of(b"a", b"bc") == of(b"a", b"bc")


def test_digests_of_large_contents_depend_on_the_seed() -> None:
    def of(blob: Blob, seed: int | None) -> str:
        hasher = hashlib.sha256()
        digest(blob, hasher, seed)
        return hasher.hexdigest()

    small, large = bytes(VAST_BYTES - 1), bytes(VAST_BYTES)
    assert len({of(small, seed) for seed in (None, 1, 2)}) == 1
    assert len({of(large, seed) for seed in (None, 1, 2)}) == 3
    assert len({of(Attached([Buffer(b""), Buffer(bytearray(large))]), seed) for seed in (None, 1, 2)}) == 3
    assert of(large, 1) == of(bytes(VAST_BYTES), 1)
    assert of(large, None) == hashlib.sha256(hashlib.sha256(large).digest()).hexdigest()


def test_equal_arguments_make_equal_bytes() -> None:
    assert dumps(((1, "x", 2.5), {"k": (1, 2)})) == pickle.dumps(((1, "x", 2.5), {"k": (1, 2)}), 5)


def test_nbytes_counts_all_buffers() -> None:
    assert nbytes(Attached([Buffer(b"abc"), Buffer(bytearray(4)), Buffer(memoryview(b"xy"))])) == 9
    assert payload.nbytes(b"") == 0


def test_cloudpickle_may_be_half_imported_by_another_thread(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle.cloudpickle", types.ModuleType("cloudpickle.cloudpickle"))
    assert loads(dumps([1, "x"])) == [1, "x"]

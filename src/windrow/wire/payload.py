"""Payloads: objects as pickles, plain bytes when small, a stream with raw buffers when large.

What lives here: `dumps` and `loads`, and how futures inside arguments become positions and values again. What this file
must never know: messages other than `Blob`, connections, what a future is (it comes to us by its ``__reduce__``).

Plain pickle comes first because it is twenty times faster; cloudpickle takes over where pickle cannot, and for whatever
refers to ``__main__``, because workers never import the user's main module.
"""

from __future__ import annotations

import hashlib
import mmap
import pickle
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from windrow.errors import PickleError
from windrow.wire.blobs import Attached, Blob, Buffer, Shared
from windrow.wire.messages import Key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ATTACH_BYTES",
    "Collection",
    "collecting",
    "digest",
    "dumps",
    "loads",
    "nbytes",
    "own",
    "refer",
    "references",
    "resolve",
    "resolving",
    "without_files",
]

ATTACH_BYTES = 64 * 1024
"""Buffers and streams from this size on travel beside their message instead of in it."""

WHOLE_BYTES = 2047
"""Up to this size bytes go into a digest as they are."""

VAST_BYTES = 2**20
"""From this size on a buffer goes into a digest as its XXH3, if there is a seed for it, fifteen times as fast as
SHA-256: 128 bits that no two values share by chance. Who knows the seed can make two that do."""

FILES_START = b"\x80\x05]\x94("
"""How a stream starts that was pickled by value, and therefore names the files of its code first; no other does: a
pickle of a list has its frame before the list."""

_FILES_END = b"e0\x80\x05"
"""Nor does this occur before the end of these names: no character of UTF-8 starts with its second half."""

_dumps = pickle.dumps
_loads = pickle.loads


class Hasher(Protocol):
    """What `digest` needs of a `hashlib` object."""

    def update(self, data: bytes | bytearray | memoryview | mmap.mmap, /) -> object:
        """Take more bytes."""


# ---------------------------------------------------------------- objects to blobs and back


def dumps(obj: object, what: str = "the object", *, borrow: bool = False) -> Blob:
    """Pickle an object.

    Parameters
    ----------
    obj
        Anything. A pair ``(args tuple, kwargs dict)`` and a triple ``(function, args, kwargs)`` are recognised as a
        call in the error's path: ``args[0].lock``.
    what
        What it is, for the error: ``"args of 'inc'"``.
    borrow
        Let the blob's large buffers be views of the object's own memory instead of copies. For a caller that sends the
        blob at once and knows that nobody changes the object until then.

    Raises
    ------
    PickleError
        Neither pickle nor cloudpickle can; the message names the smallest part that cannot travel. An active
        `collecting` starts afresh.

    Examples
    --------
    >>> loads(dumps({"x": [1, 2]}))
    {'x': [1, 2]}
    """
    large = _Large()
    try:
        stream = _dumps(obj, 5, buffer_callback=large)
    except Exception:  # any class's own reduction may raise anything; cloudpickle decides, and its error is told
        return _attach(*_by_value(obj, what), borrow)
    # "_main__" finds both __main__ and __mp_main__, in one search.
    if b"_main__" in stream or _must_go_by_value():
        return _attach(*_by_value(obj, what), borrow)
    if large:
        return _attach(stream, large, borrow)
    if len(stream) < ATTACH_BYTES:
        return stream
    return Attached([Buffer(stream)])


def loads(blob: Blob, *, copy: bool = False) -> object:
    """Unpickle a blob; arrays in it own their memory and can be written to.

    Parameters
    ----------
    blob
        What `dumps` has made.
    copy
        Buffers that were received into memory of their own are handed over as they are, unless this is true: to load
        a received blob more than once, or one that someone else keeps too.

    Examples
    --------
    >>> loads(dumps(1.5))
    1.5
    """
    if type(blob) is bytes:
        return _loads(blob)
    if type(blob) is Shared:
        from windrow.wire import sharing  # ctypes, which is below it, is not for those who never need it

        stream_piece, *pieces = sharing.views(blob)  # which are nobody else's: each time others
        return _loads(stream_piece, buffers=pieces)
    assert type(blob) is Attached, f"no blob: {type(blob)}"
    stream, *buffers = blob.frames
    return _loads(stream.data, buffers=[_owned(buffer.data, copy) for buffer in buffers])


def own(blob: Blob) -> Blob:
    """Return a blob that was made with ``borrow`` as one that is independent of its object.

    Examples
    --------
    >>> own(b"abc")
    b'abc'
    """
    if type(blob) is Attached:
        for buffer in blob.frames:
            if type(buffer.data) is memoryview:
                buffer.data = bytes(buffer.data)
    return blob


def nbytes(blob: Blob) -> int:
    """Return the size of a blob in bytes.

    Examples
    --------
    >>> nbytes(b"abc")
    3
    """
    if type(blob) is bytes:
        return len(blob)
    if type(blob) is Shared:
        return sum(blob.lengths)
    assert type(blob) is Attached, f"no blob: {type(blob)}"
    return sum(len(buffer.data) for buffer in blob.frames)


def digest(blob: Blob, hasher: Hasher, seed: int | None = None) -> None:
    """Update a `hashlib` object with a blob; names of files that code in it is from do not count.

    What is longer than `WHOLE_BYTES` goes in as its SHA-256, which processors compute twice as fast as BLAKE2; what is
    longer than `VAST_BYTES` as its XXH3, where there is a seed (`roles.seed_of_names`).

    Examples
    --------
    >>> import hashlib
    >>> hasher = hashlib.sha256()
    >>> digest(b"abc", hasher)
    >>> hasher.hexdigest() == hashlib.sha256(b"abc").hexdigest()
    True
    """
    if type(blob) is bytes:
        blob = without_files(blob)
        hasher.update(blob if len(blob) <= WHOLE_BYTES else _long_digest(blob, seed))
        return
    if type(blob) is Shared:
        from windrow.wire import sharing

        blob = sharing.plain(blob)
        blob.frames[0].data = bytes(blob.frames[0].data)
    assert type(blob) is Attached, f"no blob: {type(blob)}"
    for position, buffer in enumerate(blob.frames):
        data = without_files(buffer.data) if position == 0 and type(buffer.data) is bytes else buffer.data
        # The length goes in first, so that buffers cut at another place make another digest.
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(_long_digest(data, seed))


def without_files(stream: bytes) -> bytes:
    """Return a pickle without the names of the files that its code is from, for who compares pickles.

    A cell of a notebook is of another file in each session, and for IPython each time that it is run.

    Examples
    --------
    >>> here, there = (compile("1 + 1", file, "eval") for file in ("here.py", "there.py"))
    >>> dumps(here) == dumps(there)
    False
    >>> without_files(dumps(here)) == without_files(dumps(there))
    True
    """
    if not stream.startswith(FILES_START):
        return stream
    return stream[stream.index(_FILES_END) + 2 :]


def _long_digest(data: bytes | bytearray | memoryview | mmap.mmap, seed: int | None) -> bytes:
    if seed is not None and len(data) >= VAST_BYTES:
        import xxhash

        return xxhash.xxh3_128_digest(data, seed) + len(data).to_bytes(16, "little")
    hasher = hashlib.sha256()
    if len(data) > ATTACH_BYTES:
        hasher.update(data)
    else:
        # hashlib gives the GIL away for more than 2047 bytes, and may wait 5 ms to get it back; pieces keep it.
        for start in range(0, len(data), WHOLE_BYTES):
            hasher.update(data[start : start + WHOLE_BYTES])
    return hasher.digest()


def _owned(data: bytes | bytearray | memoryview | mmap.mmap, copy: bool) -> memoryview:
    """Return writable memory that nobody else looks at: what was received as it is, all else as a copy."""
    if not copy and (type(data) is bytearray or type(data) is mmap.mmap):
        return memoryview(data)
    return memoryview(bytearray(data))


def _attach(stream: bytes, buffers: list[pickle.PickleBuffer], borrow: bool) -> Blob:
    if not buffers and len(stream) < ATTACH_BYTES:
        return stream
    frames = [Buffer(stream)]
    for buffer in buffers:
        raw = buffer.raw()
        # A copy is immutable bytes: what the caller does to the object later must not reach a task that is retried.
        frames.append(Buffer(raw if borrow else bytes(raw)))
    return Attached(frames)


class _Large(list[pickle.PickleBuffer]):
    """Takes the large buffers out of band, while pickling; the others stay where they are."""

    __slots__ = ()

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        if _is_large(buffer):
            self.append(buffer)
            return False
        return True


def _is_large(buffer: pickle.PickleBuffer) -> bool:
    try:
        with buffer.raw() as raw:
            return raw.nbytes >= ATTACH_BYTES
    except BufferError:  # not contiguous, so it has no raw form
        return False


def _must_go_by_value() -> bool:
    """Whether a user has registered modules with cloudpickle, whose contents pickle itself would send by name."""
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    # Another thread may be in the middle of importing it: then nobody has registered anything yet.
    return bool(getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", None))


def _by_value(obj: object, what: str) -> tuple[bytes, list[pickle.PickleBuffer]]:
    from windrow.wire import by_value  # cloudpickle, which it imports, is not for those who never need it

    large = _Large()
    try:
        return by_value.dumps(obj, large), large
    except Exception as error:  # see dumps: a reduction may raise anything
        from windrow.wire import culprit

        part = culprit.find(obj, "value")
        if _local.collection is not None:
            _local.collection.take()
        raise PickleError(what, part, _in_words(error)) from error


def _in_words(error: BaseException) -> str:
    """Return the words of the first error in a chain: cloudpickle wraps some in advice that does not help here."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


# ---------------------------------------------------------------- futures inside arguments


class _Local(threading.local):
    collection: Collection | None = None
    values: Sequence[object] | None = None


_local = _Local()


class Collection:
    """The keys of the futures that were pickled on this thread, in the order of their positions.

    Examples
    --------
    >>> with collecting() as inputs:
    ...     print(refer("x")[1], refer("y")[1], refer("x")[1], inputs.take(), inputs.take())
    (0,) (1,) (0,) ['x', 'y'] ()
    """

    __slots__ = ("_positions", "_previous", "holder")

    def __init__(self, holder: object = None) -> None:
        self.holder = holder
        self._positions: dict[Key, int] = {}
        self._previous: Collection | None = None

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._positions)

    def position(self, key: Key) -> int:
        """Return the position of a key, a new one for a new key."""
        return self._positions.setdefault(key, len(self._positions))

    def put(self, key: Key, position: int) -> None:
        """Give a key this position; for all keys to come, or others may get the same."""
        self._positions[key] = position

    def take(self) -> list[Key] | tuple[()]:
        """Return the keys collected since the last call, and start afresh: once a task."""
        if not self._positions:
            return ()
        keys = list(self._positions)
        self._positions.clear()
        return keys

    def __enter__(self) -> Collection:
        self._previous = _local.collection
        _local.collection = self
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _local.collection = self._previous
        self._previous = None


def collecting(holder: object = None) -> Collection:
    """Return a `Collection` to use in a ``with`` block, around any number of `dumps`.

    Parameters
    ----------
    holder
        Whose futures may stand behind objects that could do without (see `refer_as`); True for anybody's.

    Examples
    --------
    >>> with collecting() as inputs:
    ...     blob = dumps(((1,), {}))
    >>> list(inputs)
    []
    """
    return Collection(holder)


def refer(key: Key) -> tuple[Callable[[int], object], tuple[int]] | None:
    """Return the reduction of a future to its position, or None when nobody collects on this thread.

    Examples
    --------
    >>> refer("x") is None
    True
    """
    collection = _local.collection
    if collection is None:
        return None
    return resolve, (collection.position(key),)


class Referring:
    """Pickles as a reduction that was made before."""

    __slots__ = ("_reduction",)

    def __init__(self, reduction: tuple[Callable[[int], object], tuple[int]]) -> None:
        self._reduction = reduction

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return self._reduction


def refer_as(holder: object, key: Key) -> Referring | None:
    """Return what pickles as the value of a key, for an object that travels by itself where this gives None.

    Examples
    --------
    >>> with collecting("mine") as inputs:
    ...     refer_as("yours", "x"), list(inputs)
    (None, [])
    """
    collection = _local.collection
    if collection is None or collection.holder is None or collection.holder not in (True, holder):
        return None
    reduction = refer(key)
    assert reduction is not None
    return Referring(reduction)


def resolve(position: int) -> object:
    """Return the value at a position, while unpickling; what `refer` refers to.

    Examples
    --------
    >>> with resolving(["a", "b"]):
    ...     resolve(1)
    'b'
    """
    values = _local.values
    if values is None:
        raise RuntimeError(
            f"a payload refers to its input {position}, and no inputs are at hand: it was pickled as the arguments "
            "of a task; unpickle it inside 'with resolving(values):'"
        )
    if not 0 <= position < len(values):
        raise RuntimeError(
            f"a payload refers to its input {position}, and there are {len(values)}: payload and inputs belong to "
            "different tasks"
        )
    return values[position]


class Reference:
    """Pickles as the value at a position of a task's inputs; made by `references`."""

    __slots__ = ("__reduce_ex__",)

    def __init__(self, position: int) -> None:
        # An attribute instead of a method, and a lookup instead of a function: pickle never leaves C for it.
        by_protocol = dict.fromkeys(range(pickle.HIGHEST_PROTOCOL + 1), (resolve, (position,)))
        self.__reduce_ex__ = by_protocol.__getitem__  # type: ignore[assignment, method-assign]


_references: list[Reference] = []


def references(count: int) -> list[Reference]:
    """Return objects that pickle as a task's inputs, by position: at least ``count`` of them, not to be changed.

    For who builds arguments himself and knows the inputs; futures in the same payload need `Collection.position` first.

    Examples
    --------
    >>> first, second = references(2)[:2]
    >>> with resolving(["a", "b"]):
    ...     loads(dumps([second, first, second]))
    ['b', 'a', 'b']
    """
    while len(_references) < count:
        _references.append(Reference(len(_references)))
    return _references


class resolving:  # lower case: it is used like a function, and is a class for speed
    """Let `loads` on this thread find the values of a task's inputs by position, in a ``with`` block.

    Examples
    --------
    >>> with collecting():
    ...     blob = dumps([1])
    >>> with resolving(()):
    ...     loads(blob)
    [1]
    """

    __slots__ = ("_previous", "_values")

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values
        self._previous: Sequence[object] | None = None

    def __enter__(self) -> None:
        self._previous = _local.values
        _local.values = self._values

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _local.values = self._previous

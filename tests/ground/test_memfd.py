"""Segments as the system has them: who may open what, and that nothing changes under who reads."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from windrow import memfd
from windrow.memfd import HEADER_BYTES, Borrowed, SegmentError, View, attach

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")

DATA = b"seven bytes of data and some more"


class Made:
    """A segment of this process, filled by hand."""

    def __init__(self, capacity: int = 3 * HEADER_BYTES) -> None:
        self.fd = memfd.create(capacity)
        self.inode = os.fstat(self.fd).st_ino
        self.generation = 0
        self.size = HEADER_BYTES + len(DATA)

    def fill(self, data: bytes = DATA) -> None:
        self.generation += 1
        memfd.write_header(self.fd, self.generation)
        os.pwrite(self.fd, data, HEADER_BYTES)

    def attach(self, **changed: int) -> Borrowed:
        facts = {"pid": os.getpid(), "fd": self.fd, "inode": self.inode, "generation": self.generation}
        return attach(**{**facts, "size": self.size, **changed})


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    made.fill()
    yield made
    os.close(made.fd)


def read(view: View) -> bytes:
    return bytes(view.parts([len(DATA)])[0])


def test_a_reader_sees_the_data(made: Made) -> None:
    assert read(made.attach().view()) == DATA


def test_what_a_reader_writes_nobody_else_sees(made: Made) -> None:
    held = made.attach()
    mine, other = held.view(), held.view()
    mine.parts([len(DATA)])[0][:5] = b"SEVEN"
    assert read(mine)[:5] == b"SEVEN"
    assert read(other) == read(held.view()) == read(made.attach().view()) == DATA


def test_a_view_outlives_descriptor_and_object(made: Made) -> None:
    part = made.attach().view().parts([len(DATA)])[0]
    assert bytes(part) == DATA


def test_nobody_fills_it_while_a_view_lives(made: Made) -> None:
    part = made.attach().view().parts([len(DATA)])[0][3:]
    assert not memfd.lock_for_writing(made.fd)
    del part
    assert memfd.lock_for_writing(made.fd)


def test_nobody_fills_it_while_it_is_held(made: Made) -> None:
    held = made.attach()
    assert not memfd.lock_for_writing(made.fd)
    del held
    assert memfd.lock_for_writing(made.fd)


def test_an_offer_that_comes_too_late_is_noticed(made: Made) -> None:
    late = made.generation
    made.fill(b"other")
    with pytest.raises(SegmentError, match="something else by now"):
        made.attach(generation=late)


def test_what_is_being_filled_is_not_read(made: Made) -> None:
    assert memfd.lock_for_writing(made.fd)
    with pytest.raises(SegmentError, match="being filled"):
        made.attach()
    memfd.unlock(made.fd)
    assert read(made.attach().view()) == DATA


@pytest.mark.parametrize("changed", [{"fd": 99999}, {"pid": 2**22 + 1}, {"fd": -1}, {"pid": -7}, {"pid": 0}])
def test_what_is_not_there_is_an_error(made: Made, changed: dict[str, int]) -> None:
    with pytest.raises(SegmentError):
        made.attach(**changed)


@pytest.mark.parametrize("size", [0, HEADER_BYTES - 1, 3 * HEADER_BYTES + 1, 2**62])
def test_sizes_that_cannot_be_are_an_error(made: Made, size: int) -> None:
    with pytest.raises(SegmentError, match="does not hold"):
        made.attach(size=size)


def test_another_inode_is_another_segment(made: Made) -> None:
    with pytest.raises(SegmentError, match="something else"):
        made.attach(inode=made.inode + 1)


def test_files_sockets_and_pipes_are_never_opened(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * HEADER_BYTES))
    read_end, write_end = os.pipe()
    near, far = socket.socketpair()
    with path.open("rb") as file, near, far:
        for fd in (file.fileno(), read_end, write_end, near.fileno()):
            with pytest.raises(SegmentError, match="something else"):
                made.attach(fd=fd, inode=os.fstat(fd).st_ino)
    os.close(read_end)
    os.close(write_end)


def test_what_has_a_name_in_shared_memory_is_not_opened(made: Made) -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no /dev/shm")
    path = f"/dev/shm/windrow-test-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, 3 * HEADER_BYTES)
        with pytest.raises(SegmentError, match="something else"):
            made.attach(fd=fd, inode=os.fstat(fd).st_ino)
    finally:
        os.close(fd)
        os.unlink(path)


def test_what_could_lose_its_end_is_not_read(made: Made) -> None:
    fd = os.memfd_create("unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 3 * HEADER_BYTES)
    memfd.write_header(fd, 1)
    try:
        with pytest.raises(SegmentError, match="not sealed"):
            made.attach(fd=fd, inode=os.fstat(fd).st_ino, generation=1)
    finally:
        os.close(fd)


def test_memory_of_others_makes_is_not_read(made: Made) -> None:
    fd = memfd.create(3 * HEADER_BYTES)  # sealed, and not ours: it has no header
    try:
        with pytest.raises(SegmentError):
            made.attach(fd=fd, inode=os.fstat(fd).st_ino, generation=0)
    finally:
        os.close(fd)


def test_nobody_can_shrink_a_segment(made: Made) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(made.fd, 0)
    assert fcntl.fcntl(made.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL


def test_a_reader_cannot_write_into_it(made: Made) -> None:
    held = made.attach()
    with pytest.raises(OSError, match=r"Permission denied|not permitted|Bad file"):
        View(held._fd, made.size, is_private=False)


def test_failures_leave_no_descriptor_behind(made: Made) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for changed in ({"generation": 9}, {"inode": 1}, {"fd": 99999}, {"size": 2**40}):
        for _ in range(3):
            with pytest.raises(SegmentError):
                made.attach(**changed)
    assert memfd.lock_for_writing(made.fd)
    with pytest.raises(SegmentError):
        made.attach()
    assert len(os.listdir("/proc/self/fd")) == before


def test_more_than_may_be_held_are_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memfd, "_leases_max", lambda: memfd.leases.total() + 1)
    held = made.attach()
    monkeypatch.setattr(memfd, "_leases_max", lambda: memfd.leases.total())
    with pytest.raises(SegmentError) as raised:
        made.attach()
    assert raised.value.errno == errno.EMFILE
    assert read(held.view()) == DATA


def test_what_is_held_and_viewed_is_counted(made: Made) -> None:
    held, viewed, leases = memfd.held.total(), memfd.viewed.total(), memfd.leases.total()
    borrowed = made.attach()
    first, second = borrowed.view(), borrowed.view()
    assert memfd.held.total() == held + made.size
    assert memfd.viewed.total() == viewed + 2 * made.size
    assert memfd.leases.total() == leases + 1
    del first, second, borrowed
    assert (memfd.held.total(), memfd.viewed.total(), memfd.leases.total()) == (held, viewed, leases)


def test_a_tally_tells_its_mirror() -> None:
    tally, told = memfd.Tally(), []
    tally.mirror = told.append
    tally.add(3)
    tally.add(-1)
    assert told == [3, 2]


def test_a_large_view_lies_where_huge_pages_can() -> None:
    made = Made(4 * memfd.HUGE_BYTES)
    made.fill()
    made.size = 3 * memfd.HUGE_BYTES + 5
    view = made.attach().view()
    assert view.address % memfd.HUGE_BYTES == 0
    assert len(view.data) == made.size
    assert view.data[-1] == 0
    os.close(made.fd)


def test_without_proc_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(path)

    memfd._token.cache_clear()
    monkeypatch.setattr(os, "readlink", refuse)
    assert memfd.host_token() == ""
    monkeypatch.undo()
    memfd._token.cache_clear()
    assert memfd.host_token()


@pytest.mark.parametrize(
    ("name", "value"),
    [("geteuid", lambda: 12345), ("readlink", lambda path: path if "ns" in path else f"{os.getpid()}")],
)
def test_another_user_or_another_view_of_processes_is_another_host(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    own = memfd.host_token()
    memfd._token.cache_clear()
    monkeypatch.setattr(os, name, value)
    other = memfd.host_token()
    monkeypatch.undo()
    memfd._token.cache_clear()
    assert other not in ("", own)
    assert memfd.host_token() == own


def test_large_buffers_begin_at_pages_and_small_ones_waste_none() -> None:
    lengths = [150, 2**16, 100, 5, 2**20, 0, 2**16 - 1]
    starts, size = memfd.offsets(lengths)
    assert all(start % 4096 == 0 for start, length in zip(starts, lengths, strict=True) if length >= 2**16)
    assert all(start % 64 == 0 for start in starts)
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    assert all(0 <= start - end < 4096 for end, start in zip([4096, *ends], starts, strict=False))
    assert all(
        start - end < 64 for end, start, length in zip(ends, starts[1:], lengths[1:], strict=False) if length < 2**16
    )
    assert size == ends[-1]

"""What compresses values on their way to disk or to another host, as two settings say.

What lives here: the codecs by name, and whether one pays. What this file must never know: files, connections.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Protocol

__all__ = ["Codec", "codec", "known", "pays"]

SAMPLE_BYTES = 16 * 1024
"""So much of a buffer, from its middle, says whether the rest is worth it."""

PAYS = 0.9
"""A buffer whose sample does not become smaller than this part is written as it is."""


class Compressor(Protocol):
    """A stream on its way out."""

    def compress(self, data: Any, /) -> bytes:
        """Take a piece."""

    def flush(self) -> bytes:
        """Return the rest."""


class Decompressor(Protocol):
    """A stream on its way back."""

    def decompress(self, data: Any, /) -> bytes:
        """Take a piece."""


class Codec(Protocol):
    """A way of compressing."""

    name: str

    def compressor(self) -> Compressor:
        """Begin a stream."""

    def decompressor(self) -> Decompressor:
        """Begin to read one."""


class _Zlib:
    """In the standard library; small, and slow."""

    name = "zlib"

    def compressor(self) -> Compressor:
        import zlib

        return zlib.compressobj(1)

    def decompressor(self) -> Decompressor:
        import zlib

        return zlib.decompressobj()


class _Zstd:
    """The package zstandard."""

    name = "zstd"

    def compressor(self) -> Compressor:
        compressor: Compressor = importlib.import_module("zstandard").ZstdCompressor(1).compressobj()
        return compressor

    def decompressor(self) -> Decompressor:
        decompressor: Decompressor = importlib.import_module("zstandard").ZstdDecompressor().decompressobj()
        return decompressor


class _Lz4:
    """The package lz4."""

    name = "lz4"

    def compressor(self) -> Compressor:
        return _Lz4Stream()

    def decompressor(self) -> Decompressor:
        decompressor: Decompressor = importlib.import_module("lz4.frame").LZ4FrameDecompressor()
        return decompressor


class _Lz4Stream:
    """Its streams have a beginning of their own."""

    def __init__(self) -> None:
        self._stream = importlib.import_module("lz4.frame").LZ4FrameCompressor()
        self._begun: bytes = self._stream.begin()

    def compress(self, data: Any, /) -> bytes:
        begun, self._begun = self._begun, b""
        piece: bytes = begun + self._stream.compress(data)
        return piece

    def flush(self) -> bytes:
        rest: bytes = self._begun + self._stream.flush()
        return rest


_CODECS: dict[str, Codec] = {"zlib": _Zlib(), "zstd": _Zstd(), "lz4": _Lz4()}
_PACKAGES = {"zstd": "zstandard", "lz4": "lz4"}


def codec(name: str | None, setting: str = "spill-compression") -> Codec | None:
    """Return a codec by its name, None for none; ``"auto"`` is lz4 where that is installed.

    Parameters
    ----------
    name
        Its name.
    setting
        What says so, for errors.

    Raises
    ------
    ValueError
        There is no such codec, or its package is not installed.

    Examples
    --------
    >>> codec("zlib").name, codec(None)
    ('zlib', None)
    """
    if name is None:
        return None
    if name == "auto":
        return _CODECS["lz4"] if importlib.util.find_spec("lz4") is not None else None
    if name not in _CODECS:
        known = ", ".join(["auto", *_CODECS])
        raise ValueError(f"{setting}={name!r} is none that is known: {known}, or false for none")
    package = _PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise ValueError(f"{setting}={name!r} needs the package {package}: install it where the workers run")
    return _CODECS[name]


def known(name: str) -> Codec | None:
    """Return a codec that another party names, None where this one does not have it.

    Examples
    --------
    >>> known("zlib").name, known("snappy"), known("")
    ('zlib', None, None)
    """
    try:
        return codec(name or None)
    except ValueError:  # not known here, or its package is missing
        return None


def pays(codec: Codec, data: memoryview) -> bool:
    """Say whether a buffer becomes smaller, as a sample of it does.

    Examples
    --------
    >>> pays(codec("zlib"), memoryview(bytes(100_000))), pays(codec("zlib"), memoryview(b"short"))
    (True, False)
    """
    if len(data) < SAMPLE_BYTES:
        return False
    middle = (len(data) - SAMPLE_BYTES) // 2
    stream = codec.compressor()
    small = len(stream.compress(data[middle : middle + SAMPLE_BYTES])) + len(stream.flush())
    return small < PAYS * SAMPLE_BYTES

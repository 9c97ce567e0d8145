"""The HTTP server of a dashboard: how much is taken of whom, before anybody has shown that he may look.

What lives here: `House`, and its limits. What this file must never know: paths, tokens, what is answered.

Who connects and asks nothing, or asks a byte a second, holds a connection and no more; there are so many at most. When
all are taken, of the address that has most, the one goes that has waited longest without having asked.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream

__all__ = ["House"]

HEADER_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 2**20
PATIENCE_S = 20.0
"""How long a question's header may take, and its body; and how long a connection may be idle between two questions."""
CONNECTIONS_MAX = 400


class House(HTTPServer):
    """An HTTP server that strangers cannot fill; it takes what tornado's does.

    Examples
    --------
    >>> from tornado.web import Application
    >>> House(Application()).connections
    0
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Set the limits."""
        self._guests: dict[IOStream, str] = {}
        """Open connections by age, and the addresses that they are from; those that have closed go in time."""
        self._waiting: dict[IOStream, None] = {}
        """Those that have asked nothing whole yet, by age."""
        limits = {
            "max_header_size": HEADER_BYTES_MAX,
            "max_body_size": BODY_BYTES_MAX,
            "idle_connection_timeout": PATIENCE_S,
            "body_timeout": PATIENCE_S,
        }
        super().initialize(*args, **{**limits, **kwargs})

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(not stream.closed() for stream in self._guests)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection."""
        if len(self._guests) >= CONNECTIONS_MAX:
            self._make_room()
        self._guests[stream] = str(address[0]) if address else ""
        self._waiting[stream] = None
        super().handle_stream(stream, address)

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Begin to take a question."""
        delegate = super().start_request(server_conn, request_conn)
        return _Noting(delegate, self._waiting, request_conn.stream)

    def _make_room(self) -> None:
        self._guests = {stream: host for stream, host in self._guests.items() if not stream.closed()}
        self._waiting = {stream: None for stream in self._waiting if stream in self._guests}
        if len(self._guests) < CONNECTIONS_MAX:
            return
        candidates = list(self._waiting) or list(self._guests)
        most, _ = Counter(self._guests[stream] for stream in candidates).most_common(1)[0]
        oldest = next(stream for stream in candidates if self._guests[stream] == most)
        del self._guests[oldest]
        self._waiting.pop(oldest, None)
        oldest.close()


class _Noting(HTTPMessageDelegate):
    """Notes that somebody has asked something whole, and passes all on."""

    def __init__(self, delegate: HTTPMessageDelegate, waiting: dict[IOStream, None], stream: IOStream) -> None:
        self._delegate = delegate
        self._waiting = waiting
        self._stream = stream

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Any:
        self._waiting.pop(self._stream, None)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()

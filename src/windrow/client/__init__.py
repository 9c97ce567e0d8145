"""What the user's process holds: `Client`, `Future`, `as_completed`, `wait`.

What lives here: the road from a Python call to messages and back. What this package must never know: how a cluster
is started (``windrow.deploy`` hands its factory in), and how the scheduler decides.
"""

from __future__ import annotations

from windrow.client.client import Client
from windrow.client.completed import as_completed
from windrow.client.current import default_client
from windrow.client.future import Future, futures_of
from windrow.client.waiting import wait

__all__ = ["Client", "Future", "as_completed", "default_client", "futures_of", "wait"]

"""All services of the scheduler, in a list. (Who needs one of them alone imports its file, and not all of them.)

What lives here: `SERVICES`. What this file must never know: what any of them does.
"""

from __future__ import annotations

from windrow.primitives.datasets import Datasets
from windrow.primitives.event import Flags
from windrow.primitives.keeping import Keeping
from windrow.primitives.metadata import Metadata
from windrow.primitives.multi_lock import MultiLocks
from windrow.primitives.output import Outputs
from windrow.primitives.queue import Queues
from windrow.primitives.semaphore import Semaphores
from windrow.primitives.service import Service
from windrow.primitives.topics import Topics
from windrow.primitives.variable import Variables

SERVICES: tuple[type[Service], ...] = (
    Topics,
    Outputs,
    Metadata,
    Datasets,
    Keeping,
    Semaphores,
    MultiLocks,
    Flags,
    Queues,
    Variables,
)
"""The scheduler's services."""

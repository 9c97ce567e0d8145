"""What tasks and clients share beside data: locks, queues, variables, events; each file has both its sides."""

from windrow.primitives.datasets import Datasets
from windrow.primitives.event import Flags
from windrow.primitives.keeping import Keeping
from windrow.primitives.metadata import Metadata
from windrow.primitives.multi_lock import MultiLocks
from windrow.primitives.queue import Queues
from windrow.primitives.semaphore import Semaphores
from windrow.primitives.service import Service
from windrow.primitives.topics import Topics
from windrow.primitives.variable import Variables

SERVICES: tuple[type[Service], ...] = (
    Topics,
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

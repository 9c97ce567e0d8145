"""What tasks and clients share beside data: locks, queues, variables, events; each file has both its sides."""

from windrow.primitives.service import Service

SERVICES: tuple[type[Service], ...] = ()
"""The scheduler's services."""

"""What tasks and clients share beside data: locks, queues, variables, events; each file has both its sides."""

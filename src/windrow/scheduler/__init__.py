"""Floor 3: the scheduler. A pure core (state, transitions, placement, balance, core) and its shell (server)."""

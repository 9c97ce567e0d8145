"""Floor 3: a worker. A pure core (state, core), the threads that run tasks (executor), and the shell (server)."""

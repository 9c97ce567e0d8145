"""Floor 6: the virtual cluster, and what other projects' tests may use."""

"""A task engine for Python."""

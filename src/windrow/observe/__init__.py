"""What people and monitors look at: the dashboard's process, its pages, JSON and metrics.

What lives here: everything that runs behind a dashboard's address. What this package must never know: how anything is
decided; it asks, as an observer, and changes nothing.
"""

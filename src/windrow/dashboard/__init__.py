"""The dashboard's address, and the process behind it.

What lives here: what the scheduler's process does for the dashboard, which is little: it binds the address, knows the
link, and starts the process (``windrow.observe``) when somebody comes. What this package must never know: what is
shown, or where it comes from.
"""

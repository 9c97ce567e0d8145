"""The doorway to the drop-in, for child processes of one that has it: ``windrow.dask`` puts it on their path.

It gives its place to windrow's modules, or, where another Python has been started, to what that one has itself.
"""

import os
import sys


def _give_place() -> None:
    path = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [entry for entry in sys.path if entry != path]
    if os.environ.get("WINDROW_DASK_PREFIX") == sys.prefix:
        home = os.path.dirname(os.path.dirname(os.path.dirname(path)))
        sys.path.append(home)
        import windrow.dask

        sys.path.remove(home)
        windrow.dask.install()
    sys.modules.pop("distributed", None)
    import distributed  # noqa: F401


_give_place()

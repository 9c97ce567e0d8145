"""What every test shares: no configuration of the person who runs them."""

from __future__ import annotations

import os

for _name in [name for name in os.environ if name.startswith(("DASK_", "WINDROW_"))]:
    del os.environ[_name]

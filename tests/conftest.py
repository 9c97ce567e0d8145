"""What every test shares: no configuration of the person who runs them."""

from __future__ import annotations

import os

for _name in [name for name in os.environ if name.startswith(("DASK_", "WINDROW_"))]:
    del os.environ[_name]

from hypothesis import HealthCheck, settings  # noqa: E402 - after the environment

from windrow import config  # noqa: E402

# Tests count processes, and one may take long: no dashboard starts by itself but where that is what is tested.
_KEY = "windrow.dashboard.ready-after"
config.DEFAULTS[_KEY] = config.Setting(None, config.DEFAULTS[_KEY].meaning)

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

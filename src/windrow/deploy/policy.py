"""The decision of adaptive scaling: rounds in, recommendations out.

What lives here: `AdaptivePolicy`, which knows no clock and asks nobody, and `bounds`. What this file must never know:
how the scheduler estimates work (scheduler.scaling), when rounds are played and what follows from them (adaptive).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from math import ceil, floor, inf
from typing import Any

from windrow import config

__all__ = ["AdaptivePolicy", "Recommendation", "bounds"]

Recommendation = dict[str, Any]
"""``{"status": "same"}``, ``{"status": "up", "n": 5}`` or ``{"status": "down", "workers": [names]}``."""

VAIN_MAX = 6
"""After so many doublings the time between attempts to start workers that do not come stays as it is."""

REFUSED = 10
"""A worker that could not go is asked again after so many times ``wait_count`` rounds."""


class AdaptivePolicy:
    """Rounds in, recommendations out.

    Parameters
    ----------
    minimum, maximum
        The fewest and the most workers.
    wait_count
        In how many rounds on end a worker must be proposed before it goes.

    Attributes
    ----------
    close_counts : dict
        In how many rounds on end each worker was proposed, by name.

    Examples
    --------
    >>> policy = AdaptivePolicy(minimum=1, maximum=4, wait_count=2)
    >>> policy.recommend(7, plan={0}, observed={0})
    {'status': 'up', 'n': 4}
    >>> idle = dict(plan={0, 1}, observed={0, 1}, proposed=[1])
    >>> policy.recommend(1, **idle)
    {'status': 'same'}
    >>> policy.recommend(1, **idle)
    {'status': 'down', 'workers': [1]}
    """

    def __init__(self, minimum: int = 0, maximum: float = inf, wait_count: int = 3) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.wait_count = wait_count
        self.close_counts: dict[Hashable, int] = {}
        self.vain = 0
        """How often on end workers were asked for that have gone without having come."""
        self._asked = 0
        self._observed = 0
        self._arrived = 0
        self._rest = 0

    def __repr__(self) -> str:
        return f"<AdaptivePolicy minimum={self.minimum} maximum={self.maximum} wait_count={self.wait_count}>"

    @property
    def vain_rounds(self) -> int:
        """How many rounds pass before such workers are asked for again."""
        return 2 ** min(self.vain, VAIN_MAX) if self.vain else 0

    def clamp(self, target: int) -> int:
        """Return what of a number of workers is allowed."""
        return int(max(self.minimum, min(self.maximum, target)))

    def absent(self, target: int, plan: Collection[Hashable], observed: Collection[Hashable]) -> list[Hashable]:
        """Return those that are more than the target and have not come yet: they go before all others."""
        excess = len(plan) - self.clamp(target)
        names = [name for name in plan if name not in observed]
        names.sort(key=lambda name: (self.close_counts.get(name, 0), len(str(name)), str(name)), reverse=True)
        return names[: max(0, excess)]

    def recommend(
        self,
        target: int,
        *,
        plan: Collection[Hashable],
        observed: Collection[Hashable],
        proposed: Iterable[Hashable] = (),
    ) -> Recommendation:
        """Take one round into account, and return what is to be done.

        Parameters
        ----------
        target
            How many workers the work asks for.
        plan, observed
            Names of the workers that are to be there, and of those that have come.
        proposed
            Names of the workers that can be missed, if fewer are asked for; those that have not come go before them.
        """
        target = self.clamp(target)
        self._arrived = max(self._arrived, len(observed))
        if target == len(plan):
            self.close_counts.clear()
            return {"status": "same"}
        if target > len(plan):
            self.close_counts.clear()
            return self._up(target, len(observed))
        return self._down(target, plan, observed, proposed)

    def refused(self, names: Iterable[Hashable]) -> None:
        """Learn that these could not go; they are left alone for a while."""
        for name in names:
            self.close_counts[name] = -REFUSED * self.wait_count

    def _up(self, target: int, observed: int) -> Recommendation:
        """Ask for more; where those that were asked for have gone without having come, less and less often."""
        if self._rest:
            self._rest -= 1
            if target <= self._asked:
                return {"status": "same"}
        if target <= self._asked and self._arrived <= self._observed:
            self.vain += 1
        else:
            self.vain = 0
        self._rest = self.vain_rounds
        self._asked, self._observed, self._arrived = target, observed, observed
        return {"status": "up", "n": target}

    def _down(
        self, target: int, plan: Collection[Hashable], observed: Collection[Hashable], proposed: Iterable[Hashable]
    ) -> Recommendation:
        candidates = self.absent(target, plan, observed)
        others = [name for name in dict.fromkeys(proposed) if name in plan and name not in candidates]
        candidates += others[: len(plan) - target - len(candidates)]
        self.close_counts = {name: self.close_counts.get(name, 0) + 1 for name in candidates}
        due = [name for name in candidates if self.close_counts[name] >= self.wait_count]
        if not due:
            return {"status": "same"}
        for name in due:
            del self.close_counts[name]
        self._asked = 0
        return {"status": "down", "workers": due}


def bounds(
    minimum: int = 0,
    maximum: float = inf,
    *,
    minimum_cores: int | None = None,
    maximum_cores: int | None = None,
    minimum_memory: str | float | None = None,
    maximum_memory: str | float | None = None,
    threads: Callable[[], int],
    memory: Callable[[], int],
) -> tuple[int, float]:
    """Return the fewest and the most workers that have these cores and this memory together.

    Parameters
    ----------
    threads, memory
        Called for what one worker has, if it is needed.

    Raises
    ------
    ValueError
        Not even one worker is within the limits.

    Examples
    --------
    >>> bounds(1, maximum_cores=9, minimum_memory="5 GiB", threads=lambda: 2, memory=lambda: 2**30)
    (5, 4)
    """
    if minimum_cores is not None:
        minimum = max(minimum, ceil(minimum_cores / threads()))
    if minimum_memory is not None:
        minimum = max(minimum, ceil(config.parse_bytes(minimum_memory) / memory()))
    if maximum_cores is not None:
        maximum = min(maximum, floor(maximum_cores / threads()))
    if maximum_memory is not None:
        maximum = min(maximum, floor(config.parse_bytes(maximum_memory) / memory()))
    if maximum < 1 and (maximum_cores is not None or maximum_memory is not None):
        given = f"maximum_cores={maximum_cores}, maximum_memory={maximum_memory!r}"
        raise ValueError(f"{given}: that is less than one worker has; raise the limit, or have smaller workers")
    return minimum, maximum

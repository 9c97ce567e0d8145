"""Connections that are cut in the virtual cluster, and come back or do not.

What lives here: `Cutting`. What this file must never know: how sessions go on (lines), and what else a seed does.

Promises checked, beside those of the whole run: who was cut off for a while is as good as never cut off; nobody is
thought to be away, or blamed, who is there.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from windrow.scheduler.state import ClientRecord, NannyRecord, WorkerRecord
from windrow.testing.lines import MARGIN_S, PATIENCE_S, Line

if TYPE_CHECKING:
    from windrow.testing.simulation import Simulation

OUTAGES_S = [0.0, 0.0, 0.001, 0.02, 0.3, 0.3, 6.0]
"""The last one is longer than others wait with running what the worker had."""


class Cutting:
    """All that is cut in one run.

    Parameters
    ----------
    simulation
        Whose cluster it is.
    seed
        Draws what is cut, when and for how long.
    """

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self.simulation = simulation
        self.rng = Random(f"cutting {seed}")
        self.cuts = self.rng.random() < 0.6
        simulation.cluster.lasting = self.cuts or self.rng.random() < 0.3

    def act(self) -> None:
        """Cut something, or nothing."""
        while self.cuts and self.rng.random() < 0.5:
            up = [line for line in self.simulation.cluster.lines if line.is_up]
            if not up:
                return
            line = self.rng.choice(up)
            outage_s = self.rng.choice(OUTAGES_S)
            if self.simulation.deadly and self.rng.random() < 0.2:
                self._for_good(line)
            else:
                line.cut(outage_s)

    def _for_good(self, line: Line) -> None:
        simulation, peer = self.simulation, line.peer
        if isinstance(peer, WorkerRecord) and simulation.kills < 3:
            simulation.kills += 1
            line.cut(self.rng.choice([None, PATIENCE_S + MARGIN_S + 3.0]))
        elif isinstance(peer, ClientRecord) and any(client.id == peer.id for client in simulation.clients[1:]):
            line.cut(None)

    def settle(self) -> None:
        """Let all come back that will."""
        clock = self.simulation.cluster.clock
        limit = clock.steps + 200_000
        while any(line.lasting and not line.is_over and not line.is_whole for line in self.simulation.cluster.lines):
            assert clock.step(), "somebody never comes back"
            assert clock.steps < limit, "somebody tries to come back for ever"

    def judge(self) -> None:
        """Nobody is thought to be away, or is suspected, who is there."""
        state = self.simulation.cluster.core.state
        assert not state.cut, f"these are thought to be away: {list(state.cut)}"
        for worker in state.workers.values():
            assert worker.status != "lost", f"{worker} is there"
            assert not worker.suspected, f"{worker} is there, and suspected to have died"
        for nanny in self.simulation.cluster.nannies.values():
            peer = nanny.line.peer
            assert not isinstance(peer, NannyRecord) or state.nannies.get(peer.id) is peer, f"{peer} was given up"

"""Who is given up for having left, and who is not."""

from __future__ import annotations

import asyncio

import dask
import pytest

from windrow.deploy.absentees import Absentees

MEMBERS = {"job": ["job-a", "job-b"], 7: [7]}


@pytest.mark.parametrize(
    ("seen", "given_up"),
    [
        ([{"job-a", 7}, {"job-b", 7}], []),
        ([{"job-a", 7}, {7}], ["job"]),
        ([{"job-a", 7}, set(), set()], ["job", 7]),
        ([{"job-a", 7}, set(), {"job-b"}], [7]),
        ([set(), set()], []),
    ],
    ids=["one of a job is enough", "all of it are away", "told twice", "one comes back", "never came"],
)
def test_those_that_stay_away_are_given_up(seen: list[set[object]], given_up: list[object]) -> None:
    async def main() -> None:
        found: list[object] = []
        absentees = Absentees(found.append)
        for there in seen:
            absentees.look(there, MEMBERS)
        assert len(absentees) == len(given_up)
        while len(absentees):
            await asyncio.sleep(0)
        assert found == given_up

    with dask.config.set({"distributed.deploy.lost-worker-timeout": 0}):
        asyncio.run(main())


def test_one_that_is_forgotten_or_closed_is_not_given_up() -> None:
    async def main() -> None:
        absentees = Absentees(lambda name: pytest.fail(f"{name} is given up"))
        for end in (lambda: absentees.forget(7), absentees.close):
            absentees.look({7}, {7: [7]})
            absentees.look(set(), {7: [7]})
            assert len(absentees) == 1
            end()
            assert len(absentees) == 0

    asyncio.run(main())

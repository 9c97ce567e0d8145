"""Data moves between real workers: replicate, rebalance, retire, scale; and the memory manager drops copies."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import process_tasks as tasks
import pytest
from process_help import until, until_file

from windrow import Client, LocalCluster, wait
from windrow.client.data import ActiveMemoryManager
from windrow.scheduler.memory_manager import RetireWorker

LARGE = 100_000


@pytest.fixture
def pair() -> Iterator[tuple[LocalCluster, Client]]:
    """Two workers of this process, and a client."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False) as cluster, Client(cluster) as client:
        yield cluster, client


def large(n: int) -> bytes:
    """A value that stays on its worker."""
    return bytes([n]) * LARGE


def addresses(client: Client) -> list[str]:
    """Of the workers, in the order of their names."""
    workers = client.scheduler_info()["workers"]
    return sorted(workers, key=lambda address: workers[address]["name"])


def holders(client: Client, future: object) -> list[str]:
    [found] = client.who_has([future]).values()
    return sorted(found)


# ---------------------------------------------------------------- replicate and rebalance


def test_replicate_to_all_and_back_to_one(client: Client) -> None:
    data = client.scatter(large(1))
    made = client.submit(large, 2)
    client.replicate([data, made])
    assert holders(client, data) == holders(client, made) == sorted(addresses(client))
    client.replicate({"a": [data]}, n=1)
    assert len(holders(client, data)) == 1
    assert client.gather([data, made]) == [large(1), large(2)]


def test_replicate_to_some(client: Client) -> None:
    first, second = addresses(client)
    data = client.scatter(large(1), workers=[first])
    client.replicate(data, workers=[1])
    assert holders(client, data) == sorted([first, second])


def test_replicate_arguments_are_checked_at_the_call(client: Client) -> None:
    data = client.scatter(1)
    with pytest.raises(ValueError, match="n must be 1 or more, not 0: release futures"):
        client.replicate(data, n=0)
    with pytest.raises(ValueError, match="branching_factor"):
        client.replicate(data, branching_factor=0)
    with pytest.raises(TypeError, match="n must be a whole number"):
        client.replicate(data, n=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="futures"):
        client.replicate([1])
    with pytest.raises(TypeError, match="no parameter 'copies'"):
        client.replicate(data, copies=2)
    with pytest.raises(ValueError, match="nosuch"):
        client.replicate(data, workers="nosuch")


def test_rebalance_moves_half(client: Client) -> None:
    first, second = addresses(client)
    data = client.scatter([large(n) for n in range(6)], workers=[first])
    client.rebalance(workers=[first])
    assert len(client.has_what()[first]) == 6
    client.rebalance(data)
    held = client.has_what()
    assert [len(held[first]), len(held[second])] == [3, 3]
    assert client.gather(data) == [large(n) for n in range(6)]


def test_rebalance_of_what_has_no_result(client: Client) -> None:
    bad = client.submit(tasks.fail, "no")
    with pytest.raises(KeyError, match="no result that could be moved: 'fail-"):
        client.rebalance([bad])


# ---------------------------------------------------------------- retire


def test_retired_worker_leaves_its_data_behind(own_client: Client) -> None:
    client = own_client
    first, second = addresses(client)
    data = client.scatter([large(n) for n in range(5)], workers=[first])
    made = client.submit(large, 7, workers=[first], allow_other_workers=True)
    wait(made)
    gone = client.retire_workers([first])
    assert list(gone) == [first]
    assert gone[first]["name"] == 0
    assert addresses(client) == [second]
    assert client.gather(data) == [large(n) for n in range(5)]
    assert client.submit(len, made).result() == LARGE


def test_nobody_else_is_there_to_take_data(pair: tuple[LocalCluster, Client], caplog: pytest.LogCaptureFixture) -> None:
    _, client = pair
    first, second = addresses(client)
    data = client.scatter(large(1), workers=[first])
    assert list(client.retire_workers([first, second])) == [second]
    assert f"no worker can take what they hold: {first}" in caplog.text
    assert client.scheduler_info()["workers"][first]["status"] == "running"
    assert client.submit(len, data).result() == LARGE


def test_emptied_worker_stays_without_tasks(pair: tuple[LocalCluster, Client]) -> None:
    _, client = pair
    first, second = addresses(client)
    data = client.scatter(large(1), workers=[first])
    assert list(client.retire_workers([first], close_workers=False)) == [first]
    assert client.scheduler_info()["workers"][first]["status"] == "closing_gracefully"
    assert second in holders(client, data)
    client.gather(client.map(tasks.inc, range(20)))
    assert client.has_what()[first] == [data.key]


def test_workers_that_can_be_missed(pair: tuple[LocalCluster, Client]) -> None:
    _, client = pair
    first, second = addresses(client)
    client.replicate(client.scatter(large(1), workers=[first]), n=1)
    data = client.scatter(large(1), workers=[first])
    assert client.retire_workers(n=2, key=lambda worker: worker.name, minimum=2) == {}
    assert client.retire_workers(n=1, key=attrgetter("host")) == {}
    assert list(client.retire_workers(target=1)) == [second]
    assert client.submit(len, data).result() == LARGE


def test_retire_arguments_are_checked_at_the_call(client: Client) -> None:
    for wrong in ({"n": -1}, {"minimum": 0.5}, {"memory_ratio": "2"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            client.retire_workers(**wrong)
    with pytest.raises(TypeError, match="key must be a function"):
        client.retire_workers(key=b"x")
    with pytest.raises(TypeError, match="no parameter 'workrs'"):
        client.retire_workers(workrs=[0])


def test_what_runs_on_a_retired_worker_runs_again(own_client: Client, tmp_path: Path) -> None:
    client = own_client
    first, _ = addresses(client)
    go = tmp_path / "go"
    future = client.submit(
        tasks.announce_and_wait, str(tmp_path / "up"), str(go), workers=[first], allow_other_workers=True
    )
    until_file(tmp_path / "up")
    client.retire_workers([first])
    go.touch()
    future.result(timeout=10)


# ---------------------------------------------------------------- scale


@pytest.mark.parametrize("processes", [True, False])
def test_scale_down_loses_nothing(processes: bool) -> None:
    with LocalCluster(n_workers=3, threads_per_worker=1, processes=processes) as cluster, Client(cluster) as client:
        data = client.scatter([large(n) for n in range(9)])
        made = client.map(large, range(9))
        wait(made)
        ran = client.submit(tasks.inc, 1).result()
        cluster.scale(1)
        assert len(addresses(client)) == 1
        assert {future.status for future in data + made} == {"finished"}
        assert client.gather(data) == client.gather(made) == [large(n) for n in range(9)]
        assert ran == 2


def test_scale_to_none_gives_data_up(pair: tuple[LocalCluster, Client]) -> None:
    cluster, client = pair
    data = client.scatter(large(1))
    cluster.scale(0)
    until(lambda: data.status == "cancelled", "the client hears that its data is lost")


# ---------------------------------------------------------------- the memory manager


def test_memory_manager_is_off_and_drops_copies_when_asked(pair: tuple[LocalCluster, Client]) -> None:
    _, client = pair
    data = client.scatter(large(1), broadcast=True)
    assert isinstance(client.amm, ActiveMemoryManager)
    assert client.amm.running() is False
    assert len(holders(client, data)) == 2
    client.amm.run_once()
    assert len(holders(client, data)) == 1
    assert client.amm.running() is False


def test_memory_manager_runs_by_itself(pair: tuple[LocalCluster, Client]) -> None:
    cluster, client = pair
    cluster.scheduler.core.state.config = type(cluster.scheduler.core.state.config)(manage_memory_every_s=0.01)
    client.amm.start()
    assert client.amm.running() is True
    data = client.scatter(large(1), broadcast=True)
    until(lambda: len(holders(client, data)) == 1, "one copy is dropped")
    client.amm.stop()
    assert client.amm.running() is False


def test_policy_that_empties_a_worker(pair: tuple[LocalCluster, Client]) -> None:
    cluster, client = pair
    first, second = addresses(client)
    data = client.scatter(large(1), workers=[first])

    def add(dask_scheduler: object) -> None:
        dask_scheduler.core.desk.services["amm"].add_policy(RetireWorker(first))  # type: ignore[attr-defined]

    client.run_on_scheduler(add)
    client.amm.run_once()
    until(lambda: second in holders(client, data), "the copy is there")
    client.amm.run_once()
    assert len(cluster.scheduler.core.desk.services["amm"].policies) == 1

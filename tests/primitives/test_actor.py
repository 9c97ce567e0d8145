"""Actors as programs see them, on workers that are processes, and on workers in this process."""

from __future__ import annotations

import asyncio
import inspect
import pickle

import actor_cast as cast
import dask
import pytest
from actor_cast import Counter
from primitive_tasks import until

import windrow
from windrow import Actor, ActorFuture, BaseActorFuture, Client, Event, Queue, as_completed
from windrow.errors import ActorLostError
from windrow.primitives.actor import Actor as Proxy
from windrow.primitives.actor import proxy_of


@pytest.fixture(scope="module")
def own():
    """Workers in this process: threads of it."""
    with Client(n_workers=2, threads_per_worker=1, processes=False, set_as_default=False) as client:
        yield client


@pytest.fixture(params=["processes", "threads"])
def stage(request, own, client):
    """A client of either kind of cluster."""
    return client if request.param == "processes" else own


@pytest.fixture
def counter(stage):
    return stage.submit(Counter, actor=True).result()


# ---------------------------------------------------------------- calls


def test_it_keeps_its_state(counter):
    assert isinstance(counter, Actor)
    first, second = counter.increment(), counter.increment(by=5)
    assert isinstance(first, ActorFuture)
    assert (second.result(timeout="10 s"), first.result(), first.done()) == (6, 1, True)
    assert (counter.n, counter.double, counter.step) == (6, 12, 1)


def test_coroutine_methods(counter):
    assert sorted(call.result() for call in [counter.aincrement() for _ in range(10)]) == list(range(1, 11))
    assert counter.increment(separate_thread=False).result() == 11


def test_what_a_method_raises_is_raised(counter):
    call = counter.fail()
    for _ in range(2):
        with pytest.raises(KeyError, match="no"):
            call.result()
    with pytest.raises(TypeError, match="positional argument"):
        counter.increment(1, 2).result()
    assert counter.increment().result() == 1


def test_large_results_and_arguments(counter):
    assert counter.large(1_000_000).result() == bytes(1_000_000)
    counter.befriend(bytes(1_000_000)).result()
    assert counter.friend == bytes(1_000_000)


def test_a_timeout_leaves_the_call_alone(client):
    counter = client.submit(Counter, actor=True).result()
    call = counter.await_event("go on")
    with pytest.raises(TimeoutError, match=r"Actor: Counter.*await_event: not there after 0\.01 s"):
        call.result(timeout=0.01)
    assert not call.done()
    assert "pending" in repr(call)
    Event("go on").set()
    assert call.result("10 s") is True


def test_as_completed_takes_calls(stage, counter):
    calls = [counter.increment() for _ in range(5)]
    assert {call.result() for call in as_completed(calls)} == {1, 2, 3, 4, 5}
    future = stage.submit(abs, -7)
    pairs = dict(as_completed([counter.increment(), future], with_results=True))
    assert sorted(pairs.values()) == [6, 7]
    [(_, outcome)] = as_completed([counter.fail()], with_results=True, raise_errors=False)
    assert outcome[0] is KeyError


def test_from_two_clients_and_from_tasks(stage, counter):
    with Client(stage.cluster, set_as_default=False) as other:
        there = pickle.loads(pickle.dumps(counter))
        with other.as_current():
            assert there.increment().result() == 1
        assert (there.client, counter.client) == (other, stage)
        tasks = [stage.submit(cast.increment, counter, 5, pure=False) for _ in range(4)]
        calls = [there.increment() for _ in range(5)]
        assert len({call.result() for call in calls}) == 5
        stage.gather(tasks)
        assert counter.n == there.n == 26


def test_a_proxy_belongs_to_the_client_that_gave_it(own):
    with own.as_current():
        pass
    futures = own.map(Counter, range(3), actor=True)
    proxies = own.gather(futures)
    assert [proxy.client for proxy in proxies] == [own] * 3
    assert [proxy.n for proxy in own.gather({"x": futures[:1]})["x"]] == [0]


# ---------------------------------------------------------------- proxies


def test_names(counter):
    assert repr(counter) == f"<Actor: Counter, key={counter.key}>"
    assert {"increment", "aincrement", "n", "double", "step", "key", "client"} <= set(dir(counter))
    assert inspect.unwrap(counter.increment).__name__ == counter.increment.__name__ == "increment"
    assert counter.increment.__doc__ == "Count on."
    with pytest.raises(AttributeError, match="actor of class 'Counter' has no attribute 'decrement'"):
        counter.decrement()
    assert not hasattr(counter, "__array__")
    assert not hasattr(counter, "nbytes")


def test_each_submission_makes_an_actor_of_its_own(stage):
    one, two = (stage.submit(Counter, actor=True) for _ in range(2))
    assert one.key != two.key
    one.result().increment().result()
    assert (one.result().n, two.result().n) == (1, 0)
    assert stage.submit(Counter, actors=True).result().n == 0


def test_proxies_in_collections_and_closures(stage, counter):
    assert stage.submit(lambda: counter.increment().result()).result() == 1
    assert stage.submit(sum, [stage.submit(cast.increment, counter)]).result() == 2
    [same] = stage.submit(cast.identity, [counter]).result()
    assert same.key == counter.key


def test_a_graph_makes_actors_of_what_it_is_asked_for(stage):
    delayed = dask.delayed(Counter)(dask.delayed(sum)([1, 2]))
    assert stage.compute(delayed, actors=True).result().increment().result() == 4
    graph = {"a": (Counter, "b"), "b": (int, 4)}
    assert stage.get(graph, "a", actors=["a"]).n == 4
    assert stage.get({**graph, "c": (cast.increment, "a")}, ["a", "c"], actors={"a": True, "c": False})[1] == 5
    with pytest.raises(TypeError, match="actors must be"):
        stage.compute(delayed, actors=3)


def test_without_a_client_it_says_so():
    proxy = proxy_of(Counter(), "tcp://nowhere", "c", 1)
    with pytest.raises(ValueError, match="no client"):
        proxy.increment()


def test_a_class_that_cannot_be_made(stage):
    with pytest.raises(ValueError, match="not today"):
        stage.submit(cast.Broken, actor=True).result()


# ---------------------------------------------------------------- how long it lives


def test_a_proxy_keeps_it_alive(client, cluster):
    tasks = cluster.scheduler.core.state.tasks
    counter = client.submit(Counter, actor=True).result()
    key = counter.key
    client.scheduler_info()
    assert key in tasks
    del counter
    until(lambda: key not in tasks, "the scheduler forgets an actor that nobody wants")


def test_a_call_keeps_it_alive(stage):
    assert stage.submit(Counter, actor=True).result().increment().result() == 1
    calls = [stage.submit(Counter, 1, actor=True).result().increment() for _ in range(20)]
    assert [call.result() for call in calls] == [2] * 20


def test_an_argument_keeps_it_alive(stage):
    future = stage.submit(cast.increment, stage.submit(Counter, actor=True).result())
    assert future.result() == 1


def test_a_queue_keeps_it_alive(client):
    queue = Queue("actors")
    queue.put({"counter": client.submit(Counter, 7, actor=True).result()})
    client.scheduler_info()
    assert queue.get()["counter"].increment().result() == 8
    queue.close()


def test_once_gone_it_says_so(client, cluster):
    counter = client.submit(Counter, actor=True).result()
    dead = pickle.loads(pickle.dumps(counter))
    key = counter.key
    del counter
    until(lambda: key not in cluster.scheduler.core.state.tasks, "it is forgotten")
    with pytest.raises(ActorLostError, match="is gone"):
        dead.increment().result()
    with pytest.raises(RuntimeError, match="is gone"):
        dead.increment()


def test_tasks_that_hold_proxies_let_go_of_them(client, cluster):
    counter = client.submit(Counter, actor=True).result()
    for _ in range(5):
        client.submit(cast.increment, counter, pure=False).result()
    key = counter.key
    del counter
    until(lambda: key not in cluster.scheduler.core.state.tasks, "no worker keeps it alive")


# ---------------------------------------------------------------- in tasks, and among actors


def test_tasks_get_a_proxy_wherever_they_run(stage):
    future = stage.submit(Counter, actor=True)
    names = [worker["name"] for worker in stage.scheduler_info()["workers"].values()]
    pairs = stage.gather([stage.submit(cast.whereabouts, future, workers=[name], pure=False) for name in names])
    assert [here for here, _ in pairs] == names
    assert len({there for _, there in pairs}) == 1


def test_tasks_make_actors(stage):
    assert stage.submit(cast.make_locally).result() == 6


def _pair(client, apart):
    names = [worker["name"] for worker in client.scheduler_info()["workers"].values()]
    one = client.submit(Counter, actor=True, workers=[names[0]]).result()
    two = client.submit(Counter, actor=True, workers=[names[apart]]).result()
    one.befriend(two).result()
    return one, two


def test_actors_of_one_worker_call_each_other_at_once(stage):
    one, two = _pair(stage, 0)
    assert one.poke().result(10) == ("EagerActorFuture", 1, 1)
    assert one.poke_badly().result(10) == "EagerActorFuture KeyError('no')"
    assert two.n == 1


def test_actors_of_two_workers_call_each_other(stage):
    one, two = _pair(stage, 1)
    assert one.poke_softly().result(10) == 1
    assert one.poke().result(10) == ("ActorFuture", 2, 2)
    assert one.poke_badly().result(10) == "ActorFuture KeyError('no')"
    assert two.n == 2


def test_a_method_may_wait_for_tasks(counter):
    assert counter.compute().result(10) == 45


# ---------------------------------------------------------------- asynchronous clients


def test_asynchronous_clients(cluster):
    async def main():
        async with Client(cluster.scheduler_address, asynchronous=True) as client:
            counter = await client.submit(Counter, actor=True)
            future = counter.increment()
            assert isinstance(future, BaseActorFuture)
            assert (await future, await future, await counter.increment().result()) == (1, 1, 2)
            assert await counter.n == 2
            with pytest.raises(KeyError):
                await counter.fail()
            return [await call async for call in as_completed([counter.increment()])]

    assert asyncio.run(main()) == [3]


def test_public_names():
    assert windrow.Actor is Proxy
    assert issubclass(windrow.ActorFuture, windrow.BaseActorFuture)

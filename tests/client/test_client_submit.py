"""Tasks on their way out: keys, payloads, merging, checks at the call."""

from __future__ import annotations

import operator
import pickle
import threading
from functools import partial

import pytest

from windrow.client.submit import BATCH, FIRST_BATCH
from windrow.errors import FutureCancelledError, PickleError
from windrow.wire import messages as m
from windrow.wire import payload


def add(x, y=0):
    return x + y


def test_submit_declares_the_function_before_its_first_task(client, fake):
    client.submit(add, 1, y=2, key="a")
    client.submit(add, 3, key="b")
    kinds = [type(x) for x in fake.wait_for(m.Submit) and fake.got]
    assert kinds[:4] == [m.HelloClient, m.Call, m.Declare, m.Submit]
    declare = fake.of(m.Declare)[0]
    assert len(fake.of(m.Declare)) == 1
    assert declare.name == "add"
    assert pickle.loads(declare.code) is add
    assert fake.of(m.Submit)[0].function == declare.function


def test_arguments_arrive_as_they_were(client, fake):
    future = client.submit(add, 1, y=[2, {"z": 3}])
    fake.wait_for(m.Submit)
    assert fake.tasks() == {future.key: ((1,), {"y": [2, {"z": 3}]})}


def test_equal_calls_have_one_key_and_are_sent_once(client, fake, sync):
    first, second, other = client.submit(add, 1), client.submit(add, 1), client.submit(add, 2)
    sync()
    assert first.key == second.key != other.key
    assert first is not second
    assert first != second
    assert fake.keys() == [first.key, other.key]


def test_functions_and_keyword_arguments_enter_the_key(client):
    keys = {client.submit(add, 1).key, client.submit(operator.add, 1).key, client.submit(add, 1, y=1).key}
    assert len(keys) == 3
    assert all(key.startswith("add-") for key in keys)


def test_impure_calls_have_keys_of_their_own(client, fake, sync):
    futures = [client.submit(add, 1, pure=False) for _ in range(3)] + client.map(add, [1, 1], pure=False)
    sync()
    assert len({future.key for future in futures}) == 5
    assert len(fake.keys()) == 5


def test_a_given_key_that_is_held_is_not_submitted_again(client, fake, sync):
    first = client.submit(add, 1, key="x")
    second = client.submit(add, 2, key="x")
    sync()
    assert first.entry is second.entry
    assert fake.keys() == ["x"]


def test_single_submits_merge_into_one_message(client, fake, sync):
    held = threading.Event()
    release = threading.Event()
    # The loop is busy, as it is while a thread submits in a loop.
    fake.loop_thread.loop.call_soon_threadsafe(lambda: (held.set(), release.wait(5)))
    assert held.wait(5)
    futures = [client.submit(add, n) for n in range(10)]
    release.set()
    sync()
    assert [len(submit.keys) for submit in fake.of(m.Submit)] == [10]
    assert fake.keys() == [future.key for future in futures]


def test_tasks_with_other_options_or_functions_do_not_merge(client, fake, sync):
    held, release = threading.Event(), threading.Event()
    fake.loop_thread.loop.call_soon_threadsafe(lambda: (held.set(), release.wait(5)))
    assert held.wait(5)
    futures = [
        client.submit(add, 1),
        client.submit(add, 2, priority=5),
        client.submit(add, 3, priority=5),
        client.submit(operator.neg, 4),
        client.submit(add, 5, workers="alice"),
    ]
    release.set()
    sync()
    submits = fake.of(m.Submit)
    assert [len(submit.keys) for submit in submits] == [1, 2, 1, 1]
    assert [submit.priority for submit in submits] == [0, 5, 0, 0]
    assert submits[-1].workers == ["alice"]
    assert fake.keys() == [future.key for future in futures]


def test_a_task_with_inputs_merges_with_one_without(client, fake, sync):
    base = client.submit(add, 1)
    sync()
    held, release = threading.Event(), threading.Event()
    fake.loop_thread.loop.call_soon_threadsafe(lambda: (held.set(), release.wait(5)))
    assert held.wait(5)
    futures = [client.submit(add, 2), client.submit(add, base), client.submit(add, 3)]
    release.set()
    sync()
    submit = fake.of(m.Submit)[-1]
    assert submit.keys == [future.key for future in futures]
    assert submit.inputs == [[], [base.key], []]


def test_futures_deep_in_arguments_become_inputs(client, fake, sync):
    a, b = client.submit(add, 1), client.submit(add, 2)
    client.submit(add, [a, {"b": (b, a)}], key="c")
    sync()
    submit = next(x for x in fake.of(m.Submit) if "c" in x.keys)
    place = submit.keys.index("c")
    assert submit.inputs[place] == [a.key, b.key]
    with payload.resolving([10, 20]):
        assert payload.loads(submit.args[place]) == (([10, {"b": (20, 10)}],), {})


def test_futures_inside_the_function_become_inputs_too(client, fake, sync):
    a = client.submit(add, 1)
    future = client.submit(partial(add, a), 5)
    sync()
    submit = next(x for x in fake.of(m.Submit) if future.key in x.keys)
    assert submit.inputs == [[a.key]] or submit.inputs[-1] == [a.key]
    code = {x.function: x.code for x in fake.of(m.Declare)}[submit.function]
    with payload.resolving([10]):
        args, kwargs = payload.loads(submit.args[submit.keys.index(future.key)])
    assert payload.loads(code)(*args, **kwargs) == 15
    assert future.key.startswith("add-")


def test_map_works_like_zip(client, fake, sync):
    futures = client.map(add, range(5), [10, 20, 30])
    sync()
    assert [fake.tasks()[future.key] for future in futures] == [((n, 10 * (n + 1)), {}) for n in range(3)]


def test_map_sends_columns_in_batches(client, fake, sync):
    client.map(add, range(FIRST_BATCH + BATCH + 5))
    sync()
    assert [len(x.keys) for x in fake.of(m.Submit)] == [FIRST_BATCH, BATCH, 5]
    assert all(x.inputs == [] for x in fake.of(m.Submit))


def test_batch_size_bounds_each_message(client, fake, sync):
    client.map(add, range(25), batch_size=10)
    sync()
    assert [len(x.keys) for x in fake.of(m.Submit)] == [10, 10, 5]


def test_map_with_repeated_arguments_makes_one_task(client, fake, sync):
    futures = client.map(add, [1, 1, 2, 1])
    sync()
    assert len(fake.keys()) == 2
    assert futures[0].entry is futures[3].entry
    assert futures[0].entry.refs == 3


def test_map_of_held_and_new_keys_sends_the_new_ones(client, fake, sync):
    old = client.submit(add, 1)
    futures = client.map(add, [0, 1, old])
    sync()
    assert futures[1].key == old.key
    last = fake.of(m.Submit)[-1]
    assert last.keys == [futures[0].key, futures[2].key]
    assert last.inputs == [[], [old.key]]


def test_map_with_keyword_arguments_prefix_and_keys(client, fake, sync):
    (a,) = client.map(add, [1], y=2, key="mine")
    b, c = client.map(add, [1, 2], key=["b", "c"])
    sync()
    assert a.key.startswith("mine-")
    assert fake.tasks()[a.key] == ((1,), {"y": 2})
    assert (b.key, c.key) == ("b", "c")


def test_a_large_keyword_argument_of_map_travels_once(client, fake, sync):
    data = b"x" * 200_000
    futures = client.map(add, range(4), y=data)
    sync()
    sizes = [payload.nbytes(blob) for submit in fake.of(m.Submit) for blob in submit.args]
    assert sum(size > 100_000 for size in sizes) == 1
    assert sum(sizes) < 210_000
    last = fake.of(m.Submit)[-1]
    assert last.keys == [future.key for future in futures]
    assert len(set(map(tuple, last.inputs))) == 1


def test_large_arguments_enter_the_key(client):
    one, two = b"x" * 200_000, b"x" * 199_999 + b"y"
    assert client.submit(add, one).key == client.submit(add, bytes(one)).key != client.submit(add, two).key


def test_an_argument_that_cannot_travel_raises_here_and_names_the_culprit(client, fake, sync):
    class Holder:
        def __init__(self):
            self.lock = threading.Lock()

    with pytest.raises(PickleError, match=r"args\[0\]\.lock: _thread\.lock"):
        client.submit(add, Holder())
    with pytest.raises(PickleError, match=r"task 2 .*args\[0\]: _thread\.lock"):
        client.map(add, [1, 2, threading.Lock(), 3])
    sync()
    assert client.futures == {}
    assert fake.keys() == []
    client.submit(add, 1)
    sync()
    assert len(fake.keys()) == 1


def test_a_failing_later_batch_releases_the_earlier_ones(client, fake, sync):
    with pytest.raises(PickleError):
        client.map(add, [1, 2, 3, threading.Lock()], batch_size=2)
    fake.wait_for(m.Release)
    sync()
    assert client.futures == {}
    assert sorted(fake.of(m.Release)[0].keys) == sorted(fake.keys())


def test_a_function_that_cannot_travel_is_named(client):
    lock = threading.Lock()

    def locked():
        return lock

    with pytest.raises(PickleError, match=r"(?s)The function 'locked' .*lock.*_thread\.lock"):
        client.submit(locked)


def test_inputs_that_were_cancelled_or_released_are_refused(client):
    cancelled, released = client.submit(add, 1), client.submit(add, 2)
    cancelled.cancel()
    key = released.key
    released.release()
    with pytest.raises(FutureCancelledError, match=cancelled.key):
        client.submit(add, cancelled)
    client.session.wake()
    client.scheduler_info()
    with pytest.raises(FutureCancelledError, match=key):
        client.map(add, [1, released])
    assert all(not key.startswith("add") for key in client.futures)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"retries": -1}, ValueError, "retries"),
        ({"retries": 1.5}, TypeError, "retries"),
        ({"retries": True}, TypeError, "retries"),
        ({"priority": "high"}, TypeError, "priority"),
        ({"priority": float("nan")}, ValueError, "priority"),
        ({"workers": 3.5}, TypeError, "workers"),
        ({"workers": [None]}, TypeError, "workers"),
        ({"allow_other_workers": "yes"}, TypeError, "allow_other_workers"),
        ({"allow_other_workers": True}, ValueError, "allow_other_workers"),
        ({"resources": ["GPU"]}, TypeError, "resources must be a dict such as {'GPU': 1}, not list"),
        ({"resources": {"GPU": -1}}, ValueError, "'GPU'. must be a quantity"),
        ({"resources": {"GPU": "one"}}, ValueError, "'GPU'. must be a quantity"),
        ({"resources": {1: 1}}, TypeError, "names of resources"),
        ({"actor": "yes"}, TypeError, "actor must be True or False"),
        ({"key": b"x"}, TypeError, "key must be a string"),
        ({"key": ""}, ValueError, "key"),
        ({"key": "\ud800"}, ValueError, "key must be text"),
        ({"pure": "x"}, TypeError, "pure must be True or False"),
        ({"fifo_timeout": object()}, TypeError, "fifo_timeout must be seconds"),
        ({"fifo_timeout": "x"}, ValueError, "fifo_timeout: 'x' is no time"),
    ],
)
def test_bad_options_raise_at_the_call(client, arguments, error, words):
    with pytest.raises(error, match=words):
        client.submit(add, 1, **arguments)
    with pytest.raises(error, match=words):
        client.map(add, [1], **arguments)
    assert client.futures == {}


def test_submit_needs_a_function(client):
    with pytest.raises(TypeError, match="function as its first argument, not int"):
        client.submit(5)
    with pytest.raises(TypeError, match="function as its first argument, not list"):
        client.map([1], [2])


@pytest.mark.parametrize(
    ("iterables", "words"),
    [((), "at least one iterable"), ((5,), "argument 0 of map must be iterable"), ((iter([1]),), "length")],
)
def test_map_needs_something_to_map_over(client, iterables, words):
    with pytest.raises(TypeError, match=words):
        client.map(add, *iterables)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"key": ["a"]}, ValueError, "1 keys for 2 tasks"),
        ({"key": ["a", "a"]}, ValueError, "'a' occurs more than once"),
        ({"key": ["a", None]}, TypeError, "key must be a string, a number or a tuple of these, not NoneType"),
        ({"key": ["a", ("a", b"x")]}, TypeError, "not bytes, which .* holds"),
        ({"key": ["a", ((((("a",),),),),)]}, ValueError, "deeper than"),
        ({"key": ["a", ()]}, ValueError, "empty tuple"),
        ({"key": ["a", float("nan")]}, ValueError, "NaN"),
        ({"key": ["a", 2**70]}, ValueError, "64 bits"),
        ({"key": ["a", "\udfff"]}, ValueError, "key must be text"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 1.5}, TypeError, "batch_size"),
    ],
)
def test_bad_arguments_of_map(client, arguments, error, words):
    with pytest.raises(error, match=words):
        client.map(add, [1, 2], **arguments)


def test_options_travel(client, fake, sync):
    client.submit(add, 1, priority=3, retries=2, workers=[0, "host"], allow_other_workers=True)
    sync()
    submit = fake.of(m.Submit)[0]
    assert (submit.priority, submit.retries, submit.workers, submit.allow_other_workers) == (
        3.0,
        2,
        ["0", "host"],
        True,
    )


def test_map_of_nothing_is_nothing(client, fake, sync):
    assert client.map(add, []) == []
    sync()
    assert fake.of(m.Submit) == []


def test_futures_that_only_the_rows_of_a_map_hold_live_until_their_task_is_sent(client, fake, sync):
    def rows():
        for number in range(6):
            yield client.submit(add, number, key=f"input-{number}")
            sync()  # were the one before dropped by now, its release would go out here

    futures = client.map(add, range(6), rows(), key="sum")
    sync()
    assert [one for submit in fake.of(m.Submit) for one in submit.inputs if one] == [[f"input-{n}"] for n in range(6)]
    order = [type(message) for message in fake.got if isinstance(message, m.Submit | m.Release)]
    last_submit = len(order) - order[::-1].index(m.Submit)
    assert m.Release not in order[:last_submit]
    assert len(futures) == 6


@pytest.mark.parametrize("key", [5, 1.5, ("x", 0), ("x", (1, 2.5), "y")])
def test_keys_may_be_numbers_and_tuples(client, key):
    future = client.submit(add, 1, key=key)
    assert future.key == key
    assert client.futures[key] == "pending"
    assert client.submit(add, 2, key=key).entry is future.entry

"""How far inputs are, as the scheduler counts them: bounded steps, each task once, as it is."""

from __future__ import annotations

from typing import Any

from bare_core import Bare

from windrow.scheduler.following import NAMED_MAX, PATIENCE_S, STEP_TASKS, Follow, Following, Leave, Look
from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire import messages as m


class Gallery(Bare):
    """A core with a client, a worker, and somebody who looks."""

    def __init__(self) -> None:
        super().__init__()
        self.viewer: ClientRecord = self.client("c")
        self.at: WorkerRecord = self.worker("w")
        service = self.core.desk.services["following"]
        assert isinstance(service, Following)
        self.service = service

    def make(self, keys: list[m.Key], inputs: list[list[m.Key]] | None = None) -> None:
        self.say(self.viewer, m.Declare(b"f", "f", b""), m.Submit(b"f", keys, [b""] * len(keys), inputs or []))

    def run(self, *keys: m.Key) -> None:
        """Have these finish, with results that stay on the worker."""
        for key in keys:
            task = self.state.tasks[key]
            assert task.worker is self.at, f"{key!r} is {task.state}"
            self.say(self.at, m.Done(task.id, task.attempt, 0.1, 10**6))

    def fail(self, key: m.Key) -> None:
        task = self.state.tasks[key]
        self.say(self.at, m.Erred(task.id, task.attempt, 0.1, b"", "no"))

    def look(self, request: Any) -> Any:
        return self.ask(self.viewer, "following", request).value

    def rows(self, request: Any) -> Any:
        return self.look(request)["rows"]


def test_what_leads_to_a_key_is_counted_without_the_key() -> None:
    gallery = Gallery()
    gallery.make([("load-1", 0), ("load-1", 1)])
    gallery.make(["inc-1", "inc-2"], [[("load-1", 0)], [("load-1", 1)]])
    gallery.make(["sum"], [["inc-1", "inc-2"]])
    said = gallery.look(Follow(1, ["sum"]))
    assert said == {"walked": True, "rows": {"load": [0, 0, 1, 1, 0], "inc": [0, 0, 0, 2, 0]}, "unnamed": []}
    gallery.run(("load-1", 0))
    assert gallery.rows(Look(1))["load"] == [1, 0, 1, 0, 0]
    gallery.run(("load-1", 1), "inc-1", "inc-2")
    assert gallery.rows(Look(1)) == {"load": [2, 0, 0, 0, 0], "inc": [2, 0, 0, 0, 0]}


def test_an_input_that_is_forgotten_after_its_use_is_done() -> None:
    gallery = Gallery()
    gallery.make(["a"])
    gallery.make(["b"], [["a"]])
    gallery.look(Follow(1, ["b"]))
    gallery.run("a", "b")
    gallery.say(gallery.viewer, m.Release(["a"], 1))
    assert gallery.rows(Look(1)) == {"a": [1, 0, 0, 0, 0]}


def test_errors_are_counted_and_what_is_not_run_for_their_sake() -> None:
    gallery = Gallery()
    gallery.make(["a", "z"])
    gallery.make(["b"], [["a"]])
    gallery.make(["c"], [["b", "z"]])
    gallery.say(gallery.viewer, m.Release(["a", "b", "z"], 1))
    gallery.look(Follow(1, ["c"]))
    gallery.fail("a")
    assert gallery.rows(Look(1))["a"] == [0, 1, 0, 0, 0]
    assert gallery.rows(Look(1))["b"] == [0, 1, 0, 0, 0]


def test_keys_that_lead_to_other_keys_are_the_clients_own() -> None:
    gallery = Gallery()
    gallery.make(["a"])
    gallery.make(["b"], [["a"]])
    assert gallery.look(Follow(1, ["b", "a", "unknown"])) == {"walked": True, "rows": {}, "unnamed": []}
    assert not gallery.service.is_waiting


def test_what_is_done_may_be_left_out() -> None:
    gallery = Gallery()
    gallery.make(["a", "b"])
    gallery.make(["c"], [["a", "b"]])
    gallery.run("a")
    assert gallery.rows(Follow(1, ["c"], complete=False)) == {"b": [0, 0, 1, 0, 0]}
    assert gallery.rows(Follow(2, ["c"])) == {"a": [1, 0, 0, 0, 0], "b": [0, 0, 1, 0, 0]}


def test_each_step_is_bounded_and_ticks_go_on() -> None:
    gallery = Gallery()
    total = 3 * STEP_TASKS
    layer: list[m.Key] = [("x", number) for number in range(total)]
    gallery.make(layer)
    ends: list[m.Key] = [("y", number) for number in range(total // 100)]
    gallery.make(ends, [layer[100 * place : 100 * place + 100] for place in range(len(ends))])
    first = gallery.look(Follow(1, ends))
    assert not first["walked"]
    assert 0 < sum(first["rows"]["x"]) <= STEP_TASKS
    for _ in range(4):
        assert gallery.service.is_waiting
        gallery.core.tick(gallery.now_s)
    [row] = gallery.rows(Look(1)).values()
    assert sum(row) == total


def test_a_task_with_many_inputs_is_walked_in_steps_too() -> None:
    gallery = Gallery()
    layer: list[m.Key] = [("x", number) for number in range(2 * STEP_TASKS)]
    gallery.make(layer)
    gallery.make(["y"], [layer])
    assert sum(gallery.rows(Follow(1, ["y"]))["x"]) < STEP_TASKS
    gallery.look(Look(1))
    said = gallery.look(Look(1))
    assert said["walked"]
    assert sum(said["rows"]["x"]) == len(layer)


def test_who_does_not_ask_again_costs_nothing() -> None:
    gallery = Gallery()
    gallery.make(["a"])
    gallery.make(["b"], [["a"]])
    gallery.look(Follow(1, ["b"]))
    assert gallery.core.is_waiting()
    gallery.now_s += PATIENCE_S + 1
    gallery.core.tick(gallery.now_s)
    assert not gallery.service.is_waiting
    gallery.run("a")
    assert gallery.rows(Look(1)) == {"a": [1, 0, 0, 0, 0]}, "and who comes back finds it"


def test_several_who_look_take_turns() -> None:
    gallery = Gallery()
    for number in range(3):
        base: list[m.Key] = [(f"x{number}", place) for place in range(2 * STEP_TASKS)]
        gallery.make(base)
        gallery.make([f"y{number}"], [base[:1]])
        gallery.make([f"z{number}"], [[f"y{number}"]])
        gallery.look(Follow(number, [*base[1:], f"z{number}"]))
    steps: list[int] = []
    for number, followed in list(gallery.service.followed.items()):
        followed.step = lambda *args, number=number[1]: steps.append(number)  # type: ignore[method-assign, misc]
    for _ in range(6):
        gallery.core.tick(gallery.now_s)
    assert steps == [0, 1, 2, 0, 1, 2]


def test_who_leaves_is_forgotten() -> None:
    gallery = Gallery()
    gallery.make(["a"])
    gallery.look(Follow(1, ["a"]))
    gallery.look(Follow(2, ["a"]))
    gallery.look(Leave(1))
    assert gallery.look(Look(1)) is None
    gallery.lose(gallery.viewer)
    assert gallery.service.followed == {}


def test_a_restart_ends_it() -> None:
    gallery = Gallery()
    gallery.look(Follow(1, ["a"]))
    gallery.core.desk.restarted()
    assert gallery.look(Look(1)) is None


def test_names_of_rows_may_be_the_askers_own() -> None:
    gallery = Gallery()
    count = 2 * NAMED_MAX
    layer: list[m.Key] = [("x", number) for number in range(count)]
    gallery.make(layer)
    gallery.make(["y"], [layer])
    said = gallery.look(Follow(1, ["y"], names=True))
    told: list[int] = []
    while said["unnamed"]:
        assert len(said["unnamed"]) <= NAMED_MAX
        told += [key[1] for key in said["unnamed"]]
        for _ in range(3):
            gallery.core.tick(gallery.now_s)
        said = gallery.look(Look(1, [("even", "odd")[key[1] % 2] for key in said["unnamed"]]))
    assert told == list(range(count)), "each is told once"
    assert {name: sum(row) for name, row in said["rows"].items()} == {"even": count // 2, "odd": count // 2}

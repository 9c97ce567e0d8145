"""What worker processes have of this one: environment, settings, arguments."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import dask.config
import pytest

from windrow.deploy import heritage
from windrow.errors import PickleError


def environment(own: dict[str, str] | None = None, **settings: object) -> dict[str, str]:
    keys = {"pre": "distributed.nanny.pre-spawn-environ", "environ": "distributed.nanny.environ"}
    values = {keys[name]: value for name, value in settings.items()}
    return heritage.environment(own or {}, lambda key: values.get(key, {}))


def test_the_order_of_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "here")
    monkeypatch.setenv("BOTH", "here")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    found = environment(
        {"BOTH": "own", "OWN": "own"},
        pre={"A": 1, "B": 1, "HERE": 1},
        environ={"B": 2, "C": None},
    )
    assert {name: found.get(name) for name in ("A", "B", "C", "HERE", "BOTH", "OWN")} == {
        "A": "1", "B": "2", "C": None, "HERE": "here", "BOTH": "own", "OWN": "own",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("here", "pre", "seed"),
    [
        (None, None, "6640"), ("random", None, "6640"), ("3", None, "3"), (None, 0, "6640"), (None, 7, "7"),
        (None, "random", "6640"),
    ],
)  # fmt: skip
def test_strings_hash_alike(monkeypatch: pytest.MonkeyPatch, here: str | None, pre: object, seed: str) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    if here is not None:
        monkeypatch.setenv("PYTHONHASHSEED", here)
    assert environment(pre={} if pre is None else {"PYTHONHASHSEED": pre})["PYTHONHASHSEED"] == seed


def test_settings_of_this_program_are_inherited_and_defaults_are_not() -> None:
    assert heritage.settings(None, {}) == []
    with dask.config.set({"distributed.worker.memory.pause": 0.5, "scheduler": "threads", "array.slicing": {"x": 1}}):
        [here] = heritage.settings(None, {})
    assert here["distributed"] == {"worker": {"memory": {"pause": 0.5}}}
    assert here["array"] == {"slicing": {"x": 1}}
    assert "scheduler" not in here
    assert "optimization" not in here  # of Dask's own defaults


def test_the_workers_own_variables_are_above_them_and_what_is_given_above_all() -> None:
    with dask.config.set({"distributed.worker.memory.pause": 0.5}):
        trees = heritage.settings(
            {"distributed.worker.memory.pause": 0.7}, {"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.6"}
        )
    assert [tree["distributed"]["worker"]["memory"]["pause"] for tree in trees] == [0.5, 0.6, 0.7]


class Kind:
    """Stands for a subclass of Worker."""


def test_plain_orders_are_json_and_others_are_pickled() -> None:
    plain = heritage.order("my.Worker", {"nthreads": 2}, [{"a": {"b": [1]}}])
    assert json.loads(json.dumps(plain)) == plain
    assert plain["pickled"] == ""
    made = heritage.order(Kind, {"resources": {"GPU": 1}}, [{"a": (1, 2)}])
    make, kwargs, trees = pickle.loads(bytes.fromhex(made["pickled"]))
    assert (make.__name__, kwargs, trees) == ("Kind", {"resources": {"GPU": 1}}, [{"a": (1, 2)}])


def test_a_setting_that_cannot_be_pickled_stays_and_an_argument_is_named(caplog: pytest.LogCaptureFixture) -> None:
    lock: Any = threading.Lock()
    made = heritage.order(None, {}, [{"a": lock, "b": (1,)}])
    assert pickle.loads(bytes.fromhex(made["pickled"]))[2] == [{"b": (1,)}]
    assert "the setting 'a' stays out of worker processes" in caplog.text
    with pytest.raises((TypeError, PickleError), match="arguments of a worker cannot be sent"):
        heritage.order(None, {"data": lock}, [])


def test_environment_variables_are_texts() -> None:
    assert heritage.text_of({"N": 4, "P": None}) == {"N": "4", "P": "None"}
    for wrong in ("PATH", {1: "x"}):
        with pytest.raises(TypeError, match="env must be a dict"):
            heritage.text_of(wrong)  # type: ignore[arg-type]

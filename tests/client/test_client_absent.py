"""Names that this version lacks say so, and are absent all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

import windrow
from windrow.client import Client, absent

SOME = ["register_worker_plugin", "rpc", "benchmark_hardware", "connection_args"]


@pytest.mark.parametrize("name", SOME)
def test_a_client_says_what_it_lacks(client, name):
    with pytest.raises(AttributeError, match=rf"^Client\.{name} is not in this version of windrow$"):
        getattr(client, name)
    assert not hasattr(client, name)
    assert not hasattr(Client, name)
    assert name not in dir(client)


def test_a_subclass_may_add_what_is_absent(fake):
    class Mine(Client):
        def rpc(self):
            return 5

    with Mine(fake) as client:
        assert client.rpc() == 5
        assert "rpc" in dir(client)
        with pytest.raises(AttributeError, match=r"^Mine\.benchmark_hardware is not"):
            client.benchmark_hardware()


def test_other_names_are_missed_in_the_usual_words(client):
    with pytest.raises(AttributeError, match="'Client' object has no attribute 'sumbit'"):
        client.sumbit  # noqa: B018


def test_what_is_there_is_not_listed_as_absent(client):
    assert absent.CLIENT & vars(client).keys() == set()
    with pytest.raises(AssertionError, match="submit is there"):
        absent.lacking(["submit"])(Client)
    assert {name for name in windrow._ABSENT if name in dir(windrow)} == set()
    assert {"connect", "rpc"} <= windrow._ABSENT
    assert set(SOME) <= absent.CLIENT


@pytest.mark.parametrize("name", sorted(windrow._ABSENT))
def test_the_package_says_what_it_lacks(name):
    words = f"^{name} is not in this version of windrow$"
    with pytest.raises(ImportError, match=words):
        exec(f"from windrow import {name}", {})
    with pytest.raises(AttributeError, match=words):
        getattr(windrow, name)
    assert not hasattr(windrow, name)


def test_other_names_of_the_package_are_missed_in_the_usual_words():
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
        from windrow import no_such_name  # noqa: F401


def test_asking_for_an_absent_name_loads_nothing():
    program = "import sys, windrow; hasattr(windrow, 'connect'); print([x for x in sys.modules if 'windrow.' in x])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

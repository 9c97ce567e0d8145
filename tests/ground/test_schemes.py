"""Schemes: the known ones, and those that installed packages add."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from windrow import listening, schemes

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Have a package installed, as pip would, with these modules and these entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(schemes, "_backends", dict(schemes._backends))
    modules = set(sys.modules)

    def install(package: str, points: str, **sources: str) -> None:
        facts = tmp_path / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(points)
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)

    yield install
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


GOOD = "async def connect(location, **k): ...\nasync def listen(location, on_link, **k): ...\n"


def test_an_unknown_scheme_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="unknown scheme smoke://; known are inproc://, local://, tcp://, tls://"):
        schemes.backend("smoke")
    with pytest.raises(ValueError, match="unknown scheme smoke://"):
        schemes.has_ports("smoke")


def test_a_package_adds_a_scheme(install: Install) -> None:
    install(
        "smoke-signals", "[windrow.transports]\nsmoke = smoke_signals\n", smoke_signals=GOOD + "HAS_PORTS = False\n"
    )
    assert schemes.is_known("smoke")
    assert "smoke" in schemes.known()
    assert "smoke_signals" not in sys.modules, "it is loaded at its first use"
    assert schemes.backend("smoke").__name__ == "smoke_signals"
    assert not schemes.has_ports("smoke")
    assert listening.scheme_of("smoke://") == "smoke"


def test_an_object_is_as_good_as_a_module(install: Install) -> None:
    source = "class Smoke:\n    async def connect(s, l, **k): ...\n    listen = connect\nsmoke = Smoke()\n"
    install("smoke-signals", "[windrow.transports]\nsmoke = smoke_signals:smoke\n", smoke_signals=source)
    assert type(schemes.backend("smoke")).__name__ == "Smoke"
    assert schemes.has_ports("smoke")
    assert listening.choose("smoke://10.0.0.1:7") == ["smoke://10.0.0.1:7"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero. Mend or remove it"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemError('of its own')", "cannot be loaded: SystemError: of its own"),
        ("listen = 1", "has no connect and no listen: it is no transport of windrow"),
    ],
)
def test_a_broken_package_is_named_and_harms_no_other(install: Install, source: str, words: str) -> None:
    install("smoke-signals", "[windrow.transports]\nsmoke = smoke_signals\n", smoke_signals=source)
    install("drums", "[windrow.transports]\ndrum = drums\n", drums=GOOD)
    for _ in range(2):  # it is broken for good
        with pytest.raises(ValueError, match=f"the package 'smoke-signals', which adds smoke://.* {words}"):
            schemes.backend("smoke")
    assert schemes.backend("drum").__name__ == "drums"
    assert schemes.backend("inproc").__name__ == "windrow.transport.inproc"
    assert "smoke" in schemes.known()


def test_what_is_windrows_stays_windrows(install: Install) -> None:
    install("smoke-signals", "[windrow.transports]\ninproc = smoke_signals\n", smoke_signals=GOOD)
    assert schemes.backend("inproc").__name__ == "windrow.transport.inproc"


def test_two_packages_with_one_scheme(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("a-signals", "[windrow.transports]\nsmoke = a_signals\n", a_signals=GOOD)
    install("b-signals", "[windrow.transports]\nsmoke = b_signals\n", b_signals=GOOD)
    with caplog.at_level(logging.WARNING):
        assert schemes.backend("smoke").__name__ == "a_signals"
    assert "smoke:// is that of the package a-signals; b-signals would add it too" in caplog.text


def test_a_transport_of_dask_distributed_is_another_thing(install: Install) -> None:
    install("distributed-smoke", "[distributed.comm.backends]\nsmoke = smoke_backend:Backend\n")
    with pytest.raises(ValueError, match=r"unknown scheme smoke://.*'distributed-smoke' adds it to dask\.distributed"):
        schemes.backend("smoke")


def test_one_may_be_registered_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "_backends", dict(schemes._backends))
    monkeypatch.setattr(schemes, "_PORTLESS", schemes._PORTLESS)
    schemes.register("SMOKE", "windrow.transport.inproc")
    assert schemes.backend("smoke").__name__ == "windrow.transport.inproc"
    assert not schemes.has_ports("smoke")
    assert schemes.new_location("smoke") != schemes.new_location("smoke")


def test_where_there_are_no_ports_none_can_be_asked_for() -> None:
    assert listening.choose("local://stage") == ["local://stage"]
    [chosen] = listening.choose("127.0.0.1", 0, protocol="local")
    assert chosen.startswith("local://")
    with pytest.raises(ValueError, match="no interfaces and no ports"):
        listening.choose(port=8786, protocol="local")
    with pytest.raises(ValueError, match=r"no hosts; leave host='10.0.0.1' out"):
        listening.choose("10.0.0.1", protocol="local")
    assert listening.contact("node7", "local://stage") == "local://stage"

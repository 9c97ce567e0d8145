"""All transports, each on the loops it has to work on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transport_bench import KINDS, Network, network_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--large``."""
    parser.addoption(
        "--large", action="store_true", help="send messages of 3 GiB and more, which takes twice that memory"
    )


@pytest.fixture(params=list(KINDS))
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


@pytest.fixture(params=["lasting", "lasting-asyncio", "lasting-nearby"])
def lasting_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


@pytest.fixture(params=["tls", "tls-asyncio"])
def tls_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


@pytest.fixture(params=["tcp", "tcp-asyncio"])
def tcp_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)

"""TLS links: strangers, other certificates and plain tcp are refused in words, and the listener goes on."""

from __future__ import annotations

import asyncio
import datetime
import logging
import pickle
import socket
import ssl
import time

import pytest
from transport_bench import CERTIFICATES, SECRET, Network

from windrow import transport
from windrow.addressing import split_address, split_host_port
from windrow.errors import ConnectionRefused, WrongCertificate, WrongSecret
from windrow.tls import Security
from windrow.transport import door
from windrow.wire.messages import Close

LIMIT_S = 10.0


@pytest.fixture
def network(tls_network: Network) -> Network:
    return tls_network


def dial(network: Network, address: str = "", secret: bytes = SECRET, security: Security | None = CERTIFICATES) -> None:
    connecting = transport.connect(address or network.address, secret=secret, timeout_s=8.0, certificates=security)
    network.near.run(connecting, LIMIT_S)


def raw(network: Network) -> socket.socket:
    return socket.create_connection(split_host_port(split_address(network.address)[1]), timeout=LIMIT_S)


def works(network: Network) -> None:
    near, far = network.pair()
    near.send(Close("hello"))
    assert far.wait_for_messages(1) == [Close("hello")]
    near.close()
    assert far.wait_lost() == ""


def until_logged(caplog: pytest.LogCaptureFixture, words: str) -> str:
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        for record in caplog.records:
            if words in record.getMessage():
                return record.getMessage()
        time.sleep(0.01)
    raise AssertionError(f"{words!r} is not in {caplog.messages}")


def test_another_authority_is_told_to_both(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(WrongCertificate, match="not signed by the authority"):
        dial(network, security=Security.temporary())
    assert "tls://127.0.0.1:" in until_logged(caplog, "does not trust the certificate")
    works(network)


def test_a_client_whose_certificate_is_from_elsewhere_is_refused(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    other = Security.temporary()
    mixed = Security(
        tls_ca_file=CERTIFICATES.tls_ca_file,
        tls_client_cert=other.get_tls_config_for_role("client")["cert"],
        tls_client_key=other.get_tls_config_for_role("client")["key"],
    )
    with caplog.at_level(logging.WARNING), pytest.raises(WrongCertificate, match="does not take the certificate"):
        dial(network, security=mixed)
    assert "not signed by the authority" in until_logged(caplog, "its certificate")
    works(network)


def test_an_expired_certificate_is_told(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    class Past(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime(2020, 1, 1, tzinfo=tz)

    with monkeypatch.context() as patch:
        patch.setattr(datetime, "datetime", Past)
        old = Security.temporary()

    async def main() -> None:
        listener = await transport.listen("tls://127.0.0.1:0", print, secret=SECRET, certificates=old)
        try:
            with pytest.raises(WrongCertificate, match="has expired"):
                await transport.connect(listener.address, secret=SECRET, certificates=old)
        finally:
            listener.close()

    network.near.run(main(), LIMIT_S)


def test_the_secret_is_needed_inside_of_tls_too(network: Network) -> None:
    with pytest.raises(WrongSecret):
        dial(network, secret=b"x" * 32)
    works(network)


def test_plain_tcp_to_tls_is_told_in_words(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "TLS_SILENCE_S", 0.05)
    with pytest.raises(ConnectionRefused, match="this listener speaks TLS: use tls://"):
        dial(network, network.address.replace("tls", "tcp"), security=None)
    works(network)


def test_tls_to_plain_tcp_is_told_in_words(tcp_network: Network) -> None:
    with pytest.raises(ConnectionRefused, match="does not speak TLS: use tcp://"):
        dial(tcp_network, tcp_network.address.replace("tcp", "tls"))


def test_without_certificates_nobody_gets_far(network: Network) -> None:
    with pytest.raises(WrongCertificate, match="no certificates for tls://"):
        dial(network, security=None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with raw(network) as endpoint, pytest.raises(OSError):
        with context.wrap_socket(endpoint) as encrypted:
            assert not encrypted.recv(1)
    works(network)


@pytest.mark.parametrize("noise", [pickle.dumps(print), b"\xff" * 100, b"\x16\x03\x01\xff\xff" + bytes(70000)])
def test_noise_costs_its_connection_alone(network: Network, noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), raw(network) as endpoint:
        name = f"127.0.0.1:{endpoint.getsockname()[1]}"
        endpoint.sendall(noise)
        until_logged(caplog, name)
    works(network)


def test_half_open_connections_do_not_keep_real_ones_out(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "STRANGERS_MAX", 20)
    monkeypatch.setattr(door, "PATIENCE_S", 0.001)
    idle = [raw(network) for _ in range(100)]
    works(network)
    for endpoint in idle:
        endpoint.close()


def test_what_requires_encryption_does_not_take_tcp(network: Network) -> None:
    with pytest.raises(RuntimeError, match="encryption is required"):
        dial(network, network.address.replace("tls", "tcp"))


def test_who_sits_in_between_with_a_certificate_of_the_house_cannot_hand_proofs_on(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """Each side of it is good TLS, and what is said inside is handed on byte by byte."""
    seen: list[bytes] = []

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(data)
            writer.write(data)
        writer.close()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = split_host_port(split_address(network.address)[1])
        context = CERTIFICATES.context("client", server=False)
        far_reader, far_writer = await asyncio.open_connection(host, port, ssl=context)
        await asyncio.gather(hand_on(reader, far_writer), hand_on(far_reader, writer))

    async def start() -> asyncio.Server:
        context = CERTIFICATES.context("scheduler", server=True)
        return await asyncio.start_server(receive, "127.0.0.1", 0, ssl=context)

    between = network.near.run(start(), LIMIT_S)
    port = between.sockets[0].getsockname()[1]
    with caplog.at_level(logging.WARNING), pytest.raises(WrongSecret, match="refuses this process: wrong secret"):
        dial(network, f"tls://127.0.0.1:{port}")
    assert "does not hold this cluster's secret" in until_logged(caplog, "refused a connection")
    assert b"windrow\n" in b"".join(seen)
    network.near.run(_close(between), LIMIT_S)
    works(network)


async def _close(server: asyncio.Server) -> None:
    server.close()

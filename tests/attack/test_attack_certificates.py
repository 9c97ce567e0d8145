"""Certificates that are not the cluster's, at a cluster that speaks TLS: refused by both sides, and told to both."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
from attack_help import raw, until, until_closed

from windrow import Client, LocalCluster
from windrow.errors import ConnectionRefused, WrongCertificate, WrongSecret
from windrow.tls import Security
from windrow.wire.messages import PROTOCOL_VERSION


def knock(cluster: LocalCluster, security: Security | bool, secret: bytes | None = None, address: str = "") -> None:
    """Connect as a client would, and have work done."""
    how = {"secret": secret or cluster.secret, "security": security, "timeout": 5, "set_as_default": False}
    with Client(address or cluster.scheduler_address, **how) as client:
        client.submit(sum, [1]).result(timeout=5)


def own(cluster: LocalCluster) -> Security:
    assert cluster.security is not None
    return cluster.security


def signed(cluster: LocalCluster, days: tuple[int, int]) -> Security:
    """Return a client's certificate by the cluster's authority, valid from so many days from now to so many."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    config = own(cluster).get_tls_config_for_role("scheduler")
    authority = x509.load_pem_x509_certificate(str(config["ca_file"]).encode())
    signer = serialization.load_pem_private_key(str(config["key"]).encode(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a client")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    private = serialization.PrivateFormat.PKCS8
    return Security(
        tls_ca_file=config["ca_file"],
        tls_client_cert=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        tls_client_key=key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()).decode(),
    )


def of_another_authority(cluster: LocalCluster) -> Security:
    other = Security.temporary().get_tls_config_for_role("client")
    return Security(tls_ca_file=own(cluster).tls_ca_file, tls_client_cert=other["cert"], tls_client_key=other["key"])


FALSE: dict[str, tuple[Callable[[LocalCluster], Security], str]] = {
    "another authority's": (of_another_authority, "is not signed by the authority that this process trusts"),
    "expired": (lambda cluster: signed(cluster, (-20, -10)), "has expired"),
    "not valid yet": (lambda cluster: signed(cluster, (10, 20)), "not yet valid"),
}


@pytest.mark.parametrize("kind", FALSE)
def test_a_clients_false_certificate(
    target: LocalCluster, encrypted: LocalCluster, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = FALSE[kind]
    with pytest.raises(WrongCertificate, match="does not take the certificate of this process"):
        knock(encrypted, make(encrypted))
    until(lambda: words in caplog.text, f"{words!r} is logged")
    lines = [message for message in caplog.messages if words in message]
    assert all("refused a connection: tls://127.0.0.1:" in line for line in lines)
    knock(encrypted, own(encrypted))


def test_a_certificate_of_the_authority_without_the_secret(encrypted: LocalCluster) -> None:
    good = signed(encrypted, (-10, 10))
    knock(encrypted, good)
    with pytest.raises(WrongSecret):
        knock(encrypted, good, secret=b"x" * 32)


def between(cluster: LocalCluster, security: Security) -> tuple[str, threading.Thread, list[bytes]]:
    """Listen in between with a certificate, and hand on what is said inside; return where, and what was heard."""
    listening = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                heard.append(data)
                sink.sendall(data)
        except OSError:
            pass  # an end has closed
        finally:
            sink.close()

    def pose() -> None:
        with listening:
            plain, _ = listening.accept()
        try:
            near = security.context("scheduler", server=True).wrap_socket(plain, server_side=True)
        except (ssl.SSLError, ConnectionError):  # it does not take our certificate
            plain.close()
            return
        far = own(cluster).context("client", server=False).wrap_socket(raw(cluster.scheduler_address))
        back = threading.Thread(target=carry, args=(far, near))
        back.start()
        carry(near, far)
        back.join(10)

    thread = threading.Thread(target=pose)
    thread.start()
    return f"tls://127.0.0.1:{listening.getsockname()[1]}", thread, heard


def test_a_man_in_the_middle_with_a_certificate_of_his_own(encrypted: LocalCluster) -> None:
    address, thread, heard = between(encrypted, Security.temporary())
    with pytest.raises(WrongCertificate, match=r"is not signed by the authority .* Nothing was sent to it"):
        knock(encrypted, own(encrypted), address=address)
    thread.join(10)
    assert heard == []


def test_a_man_in_the_middle_with_a_certificate_of_the_house(
    encrypted: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS is content with him on both sides; the proofs are not, as each is that of its own connection."""
    address, thread, heard = between(encrypted, own(encrypted))
    with pytest.raises(WrongSecret):
        knock(encrypted, own(encrypted), address=address)
    thread.join(10)
    assert b"windrow\n" in b"".join(heard)
    assert "does not hold this cluster's secret" in caplog.text


def test_plain_tcp_to_tls(encrypted: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    plain = encrypted.scheduler_address.replace("tls://", "tcp://")
    endpoint = raw(plain)
    endpoint.sendall(b"windrow\n" + PROTOCOL_VERSION.to_bytes(2, "little") + bytes(65))
    assert b"this listener speaks TLS: use tls://" in until_closed(endpoint)
    until(lambda: "was turned away: this listener speaks TLS" in caplog.text)
    endpoint = raw(plain)
    endpoint.sendall(b"\x16\x03\x01" + bytes(500))  # as TLS begins, and then noise
    assert len(until_closed(endpoint)) < 100
    until(lambda: "no TLS with it" in caplog.text)


def test_tls_to_plain_tcp(target: LocalCluster) -> None:
    address = target.scheduler_address.replace("tcp://", "tls://")
    with pytest.raises(ConnectionRefused, match="does not speak TLS: use tcp://"):
        knock(target, Security.temporary(), address=address)

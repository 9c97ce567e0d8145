"""`Security`: its arguments, configuration, travel, and what it shows."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest

from windrow import Security, scheduler_file, security, tls
from windrow.errors import WrongCertificate


def test_unknown_arguments_and_versions_are_refused() -> None:
    with pytest.raises(TypeError, match="no argument 'tls_cert'"):
        Security(tls_cert="x")
    with pytest.raises(ValueError, match="tls_min_version must be"):
        Security(tls_min_version="1.1")
    with pytest.raises(ValueError, match="there is no role 'nanny'"):
        Security().get_tls_config_for_role("nanny")


def test_encryption_is_required_when_anything_is_given() -> None:
    assert not Security().require_encryption
    assert Security(tls_ca_file="ca.pem").require_encryption
    assert not Security(require_encryption=False, tls_ca_file="ca.pem").require_encryption
    assert Security(require_encryption=False).refuses_encryption
    assert not Security().refuses_encryption


def test_what_is_not_given_is_configured() -> None:
    import dask.config

    with dask.config.set(
        {"distributed.comm.tls": {"ca-file": "ca.pem", "worker": {"cert": "w.pem"}, "min-version": 1.3}}
    ):
        found = tls.checked("Worker", None)
    assert found is not None
    assert found.get_tls_config_for_role("worker") == {
        "ca_file": "ca.pem",
        "ciphers": None,
        "cert": "w.pem",
        "key": None,
    }
    assert found.tls_min_version == ssl.TLSVersion.TLSv1_3


def test_temporary_ones_work_and_are_not_shown() -> None:
    made = Security.temporary(tls_min_version=ssl.TLSVersion.TLSv1_3)
    assert "PRIVATE" not in repr(made)
    assert made.require_encryption
    for role in tls.ROLES:
        context = made.get_listen_args(role)["ssl_context"]
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert set(made.get_connection_args(role)) == {"ssl_context", "require_encryption", "extra_conn_args"}
    assert pickle.loads(pickle.dumps(made)) == made
    assert Security().get_connection_args("client")["ssl_context"] is None


def test_files_are_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    made = Security.temporary().get_tls_config_for_role("client")
    both = tmp_path / "both.pem"
    both.write_text(f"{made['cert']}{made['key']}")
    assert Security(tls_ca_file=both, tls_client_cert=str(both)).context("client", server=False)
    with pytest.raises(OSError, match=r"tls_client_cert=.no.pem. cannot be read: No such file"):
        Security(tls_ca_file=both, tls_client_cert="no.pem").context("client", server=False)


def test_without_cryptography_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(ImportError, match=r"pip install 'windrow\[tls\]'"):
        Security.temporary()


def test_a_scheduler_file_carries_temporary_ones_and_no_other_keys(tmp_path: Path) -> None:
    made = Security.temporary()
    path = tmp_path / "scheduler.json"
    scheduler_file.write(path, "tls://127.0.0.1:9", b"s" * 32, made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert scheduler_file.read(path) == ("tls://127.0.0.1:9", b"s" * 32)
    assert security.certificates_for("tls://127.0.0.1:9") == made
    own: Any = {name: getattr(made, name) for name in ("tls_ca_file", "tls_scheduler_cert", "tls_scheduler_key")}
    scheduler_file.write(path, "tls://127.0.0.1:9", b"s" * 32, Security(**own, tls_client_cert="me.pem"))
    assert "PRIVATE" not in path.read_text()
    assert "me.pem" in path.read_text()


def test_certificates_that_are_made_leave_all_else_as_it_was_said() -> None:
    said = Security(
        tls_min_version=ssl.TLSVersion.TLSv1_3, tls_ciphers="ECDHE+AESGCM", extra_conn_args={"server_hostname": "x"}
    )
    made = tls.with_certificates(said)
    assert made.encrypts
    assert (made.tls_min_version, made.tls_ciphers) == (said.tls_min_version, "ECDHE+AESGCM")
    assert made.extra_conn_args == {"server_hostname": "x"}
    assert made.context("worker", server=True).minimum_version == ssl.TLSVersion.TLSv1_3
    assert tls.with_certificates(made) is made


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"tls_ca_file": "ca.pem"}, "there is tls_ca_file, and no certificate"),
        ({"tls_scheduler_cert": "s.pem"}, "there is tls_scheduler_cert, and no tls_ca_file"),
        ({"tls_ca_file": "ca.pem", "tls_worker_key": "k.pem"}, "there is tls_ca_file, tls_worker_key, and no"),
    ],
)
def test_who_gives_a_part_of_his_certificates_gets_no_others(part: dict[str, str], words: str) -> None:
    with pytest.raises(WrongCertificate, match=words):
        tls.with_certificates(Security(**part))

"""Secrets, and how the processes of one user find them.

What lives here: making a secret, the per-user runtime directory in which a scheduler publishes its own, and files that
hold one. What this file must never know: how a secret is proved (`transport.handshake`), clusters, clients.

Who can read the runtime directory can use the clusters in it; so it must belong to the user and be closed to all
others, or it is refused.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from windrow import config, roles, schemes, tls
from windrow.addressing import is_loopback, join_host_port, normalize, split_address, split_host_port
from windrow.errors import NotAllowed, WrongSecret

__all__ = [
    "SECRET_BYTES",
    "certificates_for",
    "configured",
    "from_file",
    "lookup",
    "new_secret",
    "publish",
    "published",
    "remember",
    "runtime_directory",
    "secret_for",
    "whole",
    "withdraw",
]

SECRET_BYTES = 32
SECRET_BYTES_MIN = 16
"""Less than this can be guessed."""
SECRET_FILE = "windrow.secret-file"

_known: dict[str, bytes] = {}
"""What this process was told itself: secrets by address."""
_certificates: dict[str, tls.Security] = {}
"""And certificates."""


def remember(address: str, secret: bytes | None, certificates: tls.Security | None = None) -> None:
    """Have `secret_for` and `certificates_for` know what a listener needs, in this process alone.

    Examples
    --------
    >>> remember("tcp://127.0.0.1:4", b"s" * 32)
    >>> secret_for("127.0.0.1:4") == b"s" * 32
    True
    """
    if secret is not None:
        _known[normalize(address)] = secret
    if certificates is not None:
        _certificates[normalize(address)] = certificates


def certificates_for(address: str) -> tls.Security | None:
    """Return the certificates that go with an address, if they are known: by `remember`, or as they were published.

    Examples
    --------
    >>> certificates_for("tls://127.0.0.1:5") is None
    True
    """
    known = _certificates.get(normalize(address))
    if known is not None:
        return known
    record = _record(address)
    found = None if record is None else record.get("tls")
    try:
        return tls.Security.from_record(found) if isinstance(found, dict) else None
    except (TypeError, ValueError):  # written by hand or by another version: as good as none
        return None


def new_secret() -> bytes:
    """Return a fresh random secret.

    Examples
    --------
    >>> len(new_secret())
    32
    """
    return os.urandom(SECRET_BYTES)


def runtime_directory(*, create: bool = True) -> Path:
    """Return the directory for files that only this user may read.

    Raises
    ------
    PermissionError
        It is there, and belongs to or is open to someone else.

    Examples
    --------
    >>> runtime_directory(create=False).name.startswith("windrow")
    True
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        path = Path(given) / "windrow"
    else:
        import tempfile

        path = Path(tempfile.gettempdir()) / f"windrow-{_user()}"
    if create:
        path.mkdir(mode=0o700, exist_ok=True)
    _check_private(path)
    return path


def publish(
    address: str, secret: bytes, certificates: tls.Security | None = None, **facts: str | int | float | None
) -> Path:
    """Let this user's other processes find a listener's secret; return the file that says it.

    Files of processes that are gone are removed on the way.

    Parameters
    ----------
    address
        Where the scheduler listens.
    secret
        Its secret.
    certificates
        What others need to reach it over TLS. Keys go along where they are the cluster's own (temporary ones).
    **facts
        More to write down for people who look.

    Examples
    --------
    >>> path = publish("tcp://127.0.0.1:1", b"s" * 32)
    >>> lookup("localhost:1") == b"s" * 32
    True
    >>> withdraw(path)
    """
    import json
    import tempfile

    directory = runtime_directory()
    _known.pop(normalize(address), None)  # of one that listened there before
    _remove_leftovers(directory)
    path = directory / _file_name(address)
    record: dict[str, object] = {
        **facts,
        "address": address,
        "secret": secret.hex(),
        "pid": os.getpid(),
        "host": _host(),
    }
    if certificates is not None:
        record["tls"] = certificates.to_record(private=certificates.is_shared)
    descriptor, draft = tempfile.mkstemp(dir=directory, prefix=".draft-")  # made 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return path


def withdraw(path: Path) -> None:
    """Remove what `publish` wrote; harmless when it is gone, or another process has published there since.

    Examples
    --------
    >>> withdraw(Path("no such file"))
    """
    record = _read(path)
    if record is not None and record.get("pid") == os.getpid():
        path.unlink(missing_ok=True)


def lookup(address: str) -> bytes | None:
    """Return the published secret for an address, or None. A name of this machine is as good as its number.

    Examples
    --------
    >>> lookup("tcp://127.0.0.1:2") is None
    True
    """
    record = _record(address)
    if record is None:
        return None
    try:
        return bytes.fromhex(str(record["secret"]))
    except (KeyError, ValueError):  # written by hand or by another version: as good as none
        return None


def published() -> list[str]:
    """Return the addresses of this user's schedulers on this machine: of each one.

    Examples
    --------
    >>> path = publish("tcp://127.0.0.1:4", b"s" * 32, id="Scheduler-example")
    >>> "tcp://127.0.0.1:4" in published()
    True
    >>> withdraw(path)
    """
    found: dict[object, str] = {}
    for path in sorted(runtime_directory(create=False).glob("*.json")):
        record = _read(path) or {}
        pid = record.get("pid")
        if record.get("host") == _host() and isinstance(pid, int) and _is_alive(pid):
            found.setdefault(record.get("id", path), str(record.get("address")))
    return list(found.values())


def _record(address: str) -> dict[str, object] | None:
    """Return what is published of an address."""
    directory = runtime_directory(create=False)
    return _read(directory / _file_name(address)) or _read_by_number(directory, address)


def from_file(path: str | os.PathLike[str], create: bool = False) -> bytes:
    """Return the secret that a file holds, in hexadecimal digits, or the token.

    Parameters
    ----------
    path
        Where it is.
    create
        Make it, for this user alone, with a new secret, if it is not there.

    Raises
    ------
    OSError
        It cannot be read, or made.
    ValueError
        It holds no secret.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/secret"
    >>> from_file(path, create=True) == from_file(path)
    True
    """
    if create:
        _make_file(path)
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except PermissionError:
        raise PermissionError(
            f"the secret file {os.fspath(path)!r} is not for this user to read. Ask who runs the cluster for a token "
            "(windrow token submit), or start a cluster of your own"
        ) from None
    try:
        secret = roles.from_text(text)
    except ValueError:
        secret = b""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(
            f"the file {os.fspath(path)!r} holds no secret: that is at least {2 * SECRET_BYTES_MIN} hexadecimal "
            "digits, or a token (watch:… or submit:…), and nothing else"
        )
    return secret


def _make_file(path: str | os.PathLike[str]) -> None:
    """Make a file with a new secret; whoever comes second finds it whole."""
    import tempfile

    if os.path.exists(path):
        return
    descriptor, draft = tempfile.mkstemp(dir=Path(path).parent, prefix=".secret-")  # made 0600
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{new_secret().hex()}\n")
        os.link(draft, path)
    except FileExistsError:  # another has been faster
        pass
    finally:
        os.unlink(draft)


def configured(create: bool = False) -> bytes | None:
    """Return the secret of the file that the setting ``windrow.secret-file`` names; None where there is none.

    Examples
    --------
    >>> configured() is None
    True
    """
    path: object = config.get(SECRET_FILE)
    return from_file(os.path.expanduser(str(path)), create) if path else None


def secret_for(address: str) -> bytes:
    """Return the secret for an address: the published one, else that of the file that is configured.

    Raises
    ------
    WrongSecret
        This user knows none.

    Examples
    --------
    >>> secret_for("tcp://127.0.0.1:3")
    Traceback (most recent call last):
    windrow.errors.WrongSecret: no secret for tcp://127.0.0.1:3 is known to this user: pass secret=…, run as the \
user who started it, or name a file that holds it (windrow.secret-file)
    """
    secret = _known.get(normalize(address)) or lookup(address) or configured()
    if secret is None:
        raise WrongSecret(
            f"no secret for {address} is known to this user: pass secret=…, run as the user who started it, or name a "
            "file that holds it (windrow.secret-file)"
        )
    return secret


def whole(secret: bytes, who: str) -> bytes:
    """Return a secret that is to be the cluster's own.

    Raises
    ------
    NotAllowed
        It is a token of a lesser role.

    Examples
    --------
    >>> whole(b"s" * 32, "A worker") == b"s" * 32
    True
    """
    role, _ = roles.split(secret)
    if role is not roles.Role.ADMINISTER:
        raise NotAllowed(who, str(roles.Role.ADMINISTER), str(role))
    return secret


def _file_name(address: str) -> str:
    """Return ``<port>-<host>.json``, so that a listing is sorted by port."""
    _, location = split_address(normalize(address))
    host, _, port = location.rpartition(":")
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in f"{port}-{host}.json")


def _read(path: Path) -> dict[str, object] | None:
    import json

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # not there, or no record: nothing is known
        return None
    return record if isinstance(record, dict) else None


def _read_by_number(directory: Path, address: str) -> dict[str, object] | None:
    """Return what is published under the number of an address with a name."""
    import socket

    scheme, location = split_address(normalize(address))
    if not schemes.has_ports(scheme):
        return None
    host, port = split_host_port(location)
    if not any(directory.glob(f"{port}-*.json")):  # then no name need be looked up
        return None
    try:
        number = str(socket.getaddrinfo(host, port, socket.AF_INET)[0][4][0])
    except OSError:  # nobody knows it
        return None
    found = join_host_port("127.0.0.1" if is_loopback(number) else number, port)
    return _read(directory / _file_name(found))


def _remove_leftovers(directory: Path) -> None:
    """Remove the records of dead processes of this host; a directory may be shared between containers."""
    for path in directory.glob("*.json"):
        record = _read(path)
        if record is None or record.get("host") != _host():
            continue
        pid = record.get("pid")
        if isinstance(pid, int) and not _is_alive(pid):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # no harmless signal to ask with; a leftover stays until its port is used again
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # there, and not ours
        return True
    return True


def _check_private(path: Path) -> None:
    if not hasattr(os, "getuid"):
        return  # Windows: the temporary directory is the user's own
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise PermissionError(
            f"{path} is to hold this user's secrets, and is no directory of this user (owner: uid {facts.st_uid}). "
            "Remove it, or set XDG_RUNTIME_DIR to a directory of yours"
        )
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise PermissionError(
            f"{path} holds this user's secrets, and others may look into it (mode {stat.S_IMODE(facts.st_mode):o}). "
            f"Run: chmod 700 {path}"
        )


def _user() -> str:
    if hasattr(os, "getuid"):
        return str(os.getuid())
    return os.environ.get("USERNAME", "user")


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")

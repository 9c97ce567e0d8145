"""Scheduler files: where a scheduler is, and the secret of its cluster, for those who can read the file.

What lives here: writing, reading and removing one. What this file must never know: who writes or reads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from windrow import roles, security, tls

__all__ = ["NotWhole", "read", "remove", "write"]


class NotWhole(ValueError):
    """What is there is no JSON: it is none, or is being written by a program that does so bit by bit."""


def write(
    path: str | os.PathLike[str],
    address: str,
    secret: bytes | None,
    certificates: tls.Security | None = None,
    **facts: Any,
) -> None:
    """Write a scheduler file that its owner alone may read; it appears whole.

    Parameters
    ----------
    path
        Where; one that is there is replaced.
    address
        Where others reach the scheduler.
    secret
        The cluster's, or a token.
    certificates
        What others need to reach it over TLS. Keys go along where they are the cluster's own (temporary ones).
    **facts
        More, for people and programs that look: plain data.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/scheduler.json"
    >>> write(path, "tcp://127.0.0.1:8786", b"s" * 32)
    >>> read(path) == ("tcp://127.0.0.1:8786", b"s" * 32)
    True
    """
    import json
    import tempfile

    record = {"type": "Scheduler", **facts, "address": address, "pid": os.getpid()}
    if secret is not None:
        record["secret"] = roles.to_text(secret)
    if certificates is not None:
        record["tls"] = certificates.to_record(private=certificates.is_shared)
    target = Path(path)
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # made 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def read(path: str | os.PathLike[str]) -> tuple[str, bytes | None] | None:
    """Return address and secret (or token); None while the file is not there.

    The certificates that it has are known to this process from then on (`security.certificates_for`).

    Raises
    ------
    NotWhole
        It is there, and is no JSON (yet).
    ValueError
        It is there, and is no scheduler file.
    PermissionError
        It is not for this user to read.

    Examples
    --------
    >>> read("/no/such/file") is None
    True
    """
    import json

    try:
        text = Path(path).read_text(encoding="utf-8")
        record = json.loads(text)
    except FileNotFoundError:  # not written yet
        return None
    except json.JSONDecodeError as error:
        raise NotWhole(
            f"{os.fspath(path)!r} is no scheduler file: it {'is no JSON' if text.strip() else 'is empty'} ({error}). "
            "Where it holds a bare token, give that as secret=, beside the address"
        ) from None
    except PermissionError:
        raise PermissionError(
            f"the scheduler file {os.fspath(path)!r} is not for this user to read: it holds a cluster's secret. Ask "
            "who runs that for a token (windrow token submit), or start a cluster of your own"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise ValueError(f"{os.fspath(path)!r} is no scheduler file") from None
    if not isinstance(record, dict) or not isinstance(record.get("address"), str):
        raise ValueError(f"{os.fspath(path)!r} is no scheduler file: it has no address")
    secret = record.get("secret")
    if isinstance(record.get("tls"), dict):
        try:
            security.remember(record["address"], None, tls.Security.from_record(record["tls"]))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)!r} is no scheduler file: {error}") from None
    if not isinstance(secret, str) or not secret:
        return record["address"], None
    try:
        return record["address"], roles.from_text(secret)
    except ValueError:
        raise ValueError(f"{os.fspath(path)!r} is no scheduler file: its secret is none") from None


def remove(path: str | os.PathLike[str], address: str) -> None:
    """Remove a scheduler file, unless another scheduler has written it since.

    Examples
    --------
    >>> remove("/no/such/file", "tcp://127.0.0.1:8786")
    """
    try:
        found = read(path)
    except (OSError, ValueError):  # somebody has put something else there
        return
    if found is not None and found[0] == address:
        Path(path).unlink(missing_ok=True)

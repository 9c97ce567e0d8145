"""``windrow token``: a token of a role, from the secret (or higher token) that this user has.

What lives here: the command's options, and where its output goes. What this file must never know: how a token is
derived (`windrow.roles`).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("role", type=click.Choice(["watch", "submit", "administer"]))
@click.argument("scheduler", required=False)
@click.option("--scheduler-file", "file", default=None, metavar="FILE", help="Take its secret; print such a file.")
@click.option("--output", default=None, metavar="FILE", help="Write a scheduler file, for this user alone.")
def token(role: str, scheduler: str | None, file: str | None, output: str | None) -> None:
    """Print a token of ROLE for the cluster of a SCHEDULER; without one, for that which this user runs on this machine.

    With a token of the role watch its holder can ask what there is. With one of the role submit it can have tasks run.
    The cluster's secret, for which administer stands, lets it do everything.

    \b
    Examples:
      windrow token submit
      windrow token submit tcp://127.0.0.1:8786 --output submit.json
      windrow token submit --scheduler-file cluster.json --output submit.json
      windrow token watch --scheduler-file submit.json --output watch.json

    With --output there is a scheduler file, with the address and the token. Without it, a token is printed.

    \b
    Its holder uses it where others use the secret:
      Client("tcp://127.0.0.1:8786", secret="submit:…")
      Client(scheduler_file="submit.json")
      DASK_WINDROW__SECRET_FILE=FILE python …   (what it prints is in FILE)

    Who may submit runs code on the workers as the user who runs them; docs/security.md says what that means.
    """
    if scheduler is not None and file is not None:
        raise click.UsageError("say which cluster: SCHEDULER or --scheduler-file, one of them")
    try:
        _put(_of_file(file, role) if file is not None else _of_address(scheduler, role, output is not None), output)
    except (OSError, ValueError) as error:
        click.echo(f"windrow token: {error}", err=True)
        sys.exit(1)


def _of_address(scheduler: str | None, role: str, as_file: bool) -> str:
    """Return a token, or a scheduler file with one."""
    from windrow import roles, security
    from windrow.cli import finding

    address, held = finding.place(scheduler, None, None)
    token = roles.to_text(roles.token(held, roles.Role[role.upper()]))
    if not as_file:
        return f"{token}\n"
    record: dict[str, Any] = {"type": "Scheduler", "address": address, "secret": token}
    certificates = security.certificates_for(address)
    if certificates is not None:
        record["tls"] = certificates.to_record(private=certificates.is_shared)
    return json.dumps(record, indent=2) + "\n"


def _of_file(path: str, role: str) -> str:
    """Return a scheduler file like another, with a token in the place of what that has."""
    from windrow import roles
    from windrow.cli import finding

    _, held = finding.from_file(path)
    if held is None:
        raise ValueError(f"the scheduler file {path!r} has no secret")
    with open(path, encoding="utf-8") as given:
        record: dict[str, Any] = json.load(given)
    record["secret"] = roles.to_text(roles.token(held, roles.Role[role.upper()]))
    return json.dumps(record, indent=2) + "\n"


def _put(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)  # of a file that was there already, too
        file.write(text)

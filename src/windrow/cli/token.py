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
@click.option("--output", default=None, metavar="FILE", help="Write there, for this user alone, and not to stdout.")
def token(role: str, scheduler: str | None, file: str | None, output: str | None) -> None:
    """Print a token of ROLE for the cluster of a SCHEDULER.

    With a token of the role watch its holder can ask what there is. With one of the role submit it can have tasks run.
    The cluster's secret, for which administer stands, lets it do everything.

    \b
    Examples:
      windrow token submit tcp://127.0.0.1:8786
      windrow token submit --scheduler-file cluster.json --output submit.json
      windrow token watch --scheduler-file submit.json --output watch.json

    \b
    Its holder uses it where others use the secret:
      Client("tcp://127.0.0.1:8786", secret="submit:…")
      Client(scheduler_file="submit.json")
      DASK_WINDROW__SECRET_FILE=FILE python …

    Who may submit runs code on the workers as the user who runs them; docs/security.md says what that means.
    """
    if (scheduler is None) == (file is None):
        raise click.UsageError("say which cluster: SCHEDULER or --scheduler-file, one of them")
    try:
        text = _of_file(file, role) if file is not None else f"{_of_address(scheduler or '', role)}\n"
        _put(text, output)
    except (OSError, ValueError) as error:
        click.echo(f"windrow token: {error}", err=True)
        sys.exit(1)


def _of_address(scheduler: str, role: str) -> str:
    from windrow import roles, security

    held = security.secret_for(scheduler)
    return roles.to_text(roles.token(held, roles.Role[role.upper()]))


def _of_file(path: str, role: str) -> str:
    """Return a scheduler file like another, with a token in the place of what that has."""
    from windrow import roles, scheduler_file

    found = scheduler_file.read(path)
    if found is None:
        raise ValueError(f"there is no scheduler file {path!r}, or it is not whole")
    if found[1] is None:
        raise ValueError(f"the scheduler file {path!r} has no secret")
    with open(path, encoding="utf-8") as given:
        record: dict[str, Any] = json.load(given)
    record["secret"] = roles.to_text(roles.token(found[1], roles.Role[role.upper()]))
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

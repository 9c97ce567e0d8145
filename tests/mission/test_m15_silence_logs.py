"""M15: ``silence_logs``: the level of logs that reach the terminal; ``False`` or ``None`` change nothing."""

from __future__ import annotations

import logging

import pytest
from mission_help import run_program

from windrow import LocalCluster

PROGRAM = """
import logging, sys
from windrow import Client, LocalCluster

def complain():
    logging.getLogger("distributed.worker").warning("a warning of the worker")
    logging.getLogger("distributed.worker").error("an error of the worker")

{setup}
with LocalCluster(n_workers=1, threads_per_worker=1, silence_logs={level}) as cluster, Client(cluster) as client:
    client.submit(complain).result()
    logging.getLogger("windrow.scheduler").warning("a warning here")
    logging.getLogger("windrow.scheduler").error("an error here")
"""

SETUP = "logging.getLogger('windrow').addHandler(logging.StreamHandler())"
WARNINGS = {"a warning of the worker", "a warning here"}
ERRORS = {"an error of the worker", "an error here"}


@pytest.mark.parametrize(
    ("level", "setup", "shown"),
    [
        ("logging.WARNING", "", WARNINGS | ERRORS),
        ("logging.ERROR", "", ERRORS),
        ("'critical'", SETUP, set()),
        ("False", "", WARNINGS | ERRORS),
    ],
)
def test_no_more_than_the_level_reaches_the_terminal(level: str, setup: str, shown: set[str]) -> None:
    out, err = run_program(PROGRAM.format(level=level, setup=setup))
    assert out == ""
    assert set(err.splitlines()) == shown


def test_information_is_shown_to_who_wants_it() -> None:
    _, err = run_program(PROGRAM.format(level="logging.INFO", setup=""))
    assert "the scheduler is at tcp://" in err
    assert "joins the scheduler at tcp://" in err  # as the worker's process says


@pytest.mark.parametrize("nothing", [False, None])
def test_what_the_program_has_set_is_as_before(nothing: bool | None) -> None:
    handler = logging.StreamHandler()
    handler.setLevel(7)
    logging.getLogger("windrow").addHandler(handler)
    try:
        with LocalCluster(n_workers=0, processes=False, silence_logs=nothing):
            assert handler.level == 7
        with LocalCluster(n_workers=0, processes=False):
            assert handler.level == logging.WARNING
        assert handler.level == 7
    finally:
        logging.getLogger("windrow").removeHandler(handler)

"""Settings: one table of every key that windrow reads, over dask's configuration.

What lives here: the table, `get`, and the parsing of times and sizes. What this file must never know: what a setting is
used for.

``dask.config`` takes 0.1 s to import, so it is left alone while nobody configures anything: the table's defaults
hold. As soon as the program has imported it, or there is a ``DASK_…`` environment variable or a configuration file,
it is asked.
"""

from __future__ import annotations

import math
import os
import site
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "DEFAULTS",
    "Setting",
    "adopt",
    "get",
    "nested",
    "parse_bytes",
    "parse_timedelta",
    "seconds",
    "size_bytes",
]


class Setting(NamedTuple):
    """A key's default, and what it means in one line."""

    default: object
    meaning: str


DEFAULTS: Final[dict[str, Setting]] = {
    "distributed.scheduler.active-memory-manager.start": Setting(False, "Whether copies that nobody needs are dropped"),
    "distributed.scheduler.active-memory-manager.interval": Setting("2s", "How often these are looked for"),
    "distributed.scheduler.allowed-failures": Setting(3, "Deaths of workers that a task may survive"),
    "distributed.scheduler.blocked-handlers": Setting([], "Requests that the scheduler refuses, by name"),
    "distributed.scheduler.contact-address": Setting(None, "The address that a scheduler tells to others"),
    "distributed.scheduler.dashboard.tasks.task-stream-length": Setting(
        100_000, "Rows of the task stream that the scheduler keeps, once somebody has asked for it, and /tasks shows"
    ),
    "distributed.scheduler.dashboard.status.task-stream-length": Setting(1_000, "How many of them /status shows"),
    "distributed.scheduler.idle-timeout": Setting(None, "A scheduler without work for so long closes its cluster"),
    "distributed.scheduler.locks.lease-timeout": Setting(
        "30s", "Silence of a holder that frees a lock or semaphore; 'inf': never"
    ),
    "distributed.scheduler.no-workers-timeout": Setting(
        None, "How long no worker may be able to run a task before it errs; None: it waits"
    ),
    "distributed.scheduler.unknown-task-duration": Setting(
        "500ms", "What a function is expected to take that has not finished once"
    ),
    "distributed.adaptive.interval": Setting("1s", "How often adaptive scaling looks at the load"),
    "distributed.adaptive.target-duration": Setting(
        "5s", "The time in which all that could run is to be done; adaptive scaling asks for so many workers"
    ),
    "distributed.adaptive.minimum": Setting(0, "The fewest workers of adaptive scaling"),
    "distributed.adaptive.maximum": Setting(math.inf, "The most workers of adaptive scaling"),
    "distributed.adaptive.wait-count": Setting(3, "In how many looks on end a worker must be idle to be closed"),
    "distributed.scheduler.validate": Setting(False, "Whether the scheduler checks itself at each step (slow)"),
    "distributed.scheduler.worker-ttl": Setting("5 minutes", "Silence that ends a worker without a nanny"),
    "distributed.admin.large-graph-warning-threshold": Setting(
        "10 MB", "Data inside of the tasks of one call that is worth a warning"
    ),
    "distributed.admin.log-length": Setting(10000, "Log records that each process remembers"),
    "distributed.admin.low-level-log-length": Setting(1000, "Events that the scheduler remembers, for each topic"),
    "distributed.deploy.lost-worker-timeout": Setting(
        "15s", "How long a worker that has left may stay away before its cluster gives it up"
    ),
    "distributed.comm.require-encryption": Setting(
        None, "Whether connections must be encrypted; false: never; unset: where other machines can come"
    ),
    "distributed.comm.tls.ca-file": Setting(None, "Whose signature certificates need: a file"),
    **{
        f"distributed.comm.tls.{role}.{what}": Setting(None, f"The {what} of a {role}: a file")
        for role in ("client", "scheduler", "worker")
        for what in ("cert", "key")
    },
    "distributed.comm.tls.ciphers": Setting(None, "Ciphers, as OpenSSL writes them"),
    "distributed.comm.tls.min-version": Setting(None, "The lowest version of TLS: 1.2 or 1.3; unset: 1.2"),
    "distributed.comm.tls.max-version": Setting(None, "The highest one"),
    "distributed.comm.compression": Setting(
        False,
        "What compresses large values between workers on different hosts, where a sample of them says that it pays: "
        "lz4, zstd or zlib; auto: lz4 where that is installed; false: nothing",
    ),
    "distributed.comm.default-scheme": Setting("tcp", "The scheme of addresses that have none"),
    "distributed.comm.socket-backlog": Setting(2048, "How many connections wait at a listener until it takes them"),
    "distributed.comm.timeouts.connect": Setting("30s", "How long a connection is tried"),
    "distributed.comm.timeouts.tcp": Setting(
        "30s", "How long the host at the other end of a connection may answer nothing before it is taken for gone"
    ),
    "distributed.nanny.environ": Setting({}, "Environment variables for worker processes"),
    "distributed.nanny.pre-spawn-environ": Setting(
        {"MALLOC_TRIM_THRESHOLD_": 65536, "OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
        "Environment variables that must be there before a worker's interpreter starts",
    ),
    "distributed.worker.connections.incoming": Setting(10, "Questions for values that a worker asks at a time"),
    "distributed.worker.connections.outgoing": Setting(50, "Questions for values that a worker answers at a time"),
    "distributed.worker.memory.target": Setting(
        0.60, "Of its limit, in managed memory: beyond it a worker's values go to disk; false: never for that reason"
    ),
    "distributed.worker.memory.spill": Setting(
        0.70, "Of its limit, in its process's memory: beyond it values go to disk; false: never for that reason"
    ),
    "distributed.worker.memory.pause": Setting(
        0.80, "Of its limit, in its process's memory: beyond it a worker starts no task; false: it always does"
    ),
    "distributed.worker.memory.terminate": Setting(
        0.95, "Of its limit, in its process's memory: beyond it a nanny ends its worker; false: it does not"
    ),
    "distributed.worker.memory.transfer": Setting(
        0.10, "Of its limit: what a worker fetches from its peers at a time; false: any amount"
    ),
    "distributed.worker.memory.max-spill": Setting(False, "What a worker may have on disk; false: any amount"),
    "distributed.worker.memory.spill-compression": Setting(
        "auto", "What compresses it: lz4, zstd or zlib; auto: lz4 where that is installed; false: nothing"
    ),
    "distributed.worker.memory.monitor-interval": Setting("100ms", "How often a worker measures its process"),
    "distributed.worker.memory.recent-to-old-time": Setting(
        "30s", "How long unmanaged memory counts as recent, and may still go away by itself"
    ),
    "distributed.worker.profile.enabled": Setting(True, "Whether workers look at what their tasks spend time on"),
    "distributed.worker.profile.interval": Setting("10ms", "How often they look"),
    "distributed.worker.profile.cycle": Setting("1s", "How long the stretches are of which a profile tells times"),
    "distributed.worker.transfer.message-bytes-limit": Setting("50 MB", "What one question to a peer asks for"),
    "distributed.client.preload": Setting([], "What clients load at their start: modules, files, source text"),
    "distributed.client.preload-argv": Setting([], "Arguments for these"),
    "distributed.nanny.preload": Setting([], "What nannies load at their start"),
    "distributed.nanny.preload-argv": Setting([], "Arguments for these"),
    "distributed.scheduler.preload": Setting([], "What schedulers load at their start"),
    "distributed.scheduler.preload-argv": Setting([], "Arguments for these"),
    "distributed.worker.preload": Setting([], "What workers load at their start"),
    "distributed.worker.preload-argv": Setting([], "Arguments for these"),
    "distributed.worker.lifetime.duration": Setting(None, "How long a worker lives, before it hands over and leaves"),
    "distributed.worker.lifetime.restart": Setting(False, "Whether its nanny then starts another"),
    "distributed.worker.lifetime.stagger": Setting("0 seconds", "By how much at most that duration is varied"),
    "distributed.worker.resources": Setting({}, "What each worker offers beside its threads, such as {'GPU': 1}"),
    "distributed.dashboard.graph-max-items": Setting(5_000, "Of more tasks /graph shows the groups"),
    "distributed.dashboard.prometheus.namespace": Setting("dask", "What names of metrics begin with"),
    "distributed.worker.use-file-locking": Setting(True, "Whether directories of workers are locked while in use"),
    "distributed.worker.validate": Setting(False, "Whether workers check themselves at each step (slow)"),
    "distributed.dashboard.link": Setting("{scheme}://{host}:{port}/status", "The form of `dashboard_link`"),
    "scheduler-address": Setting(None, "Where workers and clients find their scheduler, if nothing else says so"),
    "temporary-directory": Setting(None, "Where workers put their directories; None: the system's place"),
    "windrow.frame-limit": Setting("64 GiB", "The largest frame that an authenticated peer may send"),
    "windrow.handshake-timeout": Setting("10s", "How long a new connection has to prove that it holds the secret"),
    "windrow.drain-timeout": Setting("30s", "How long the tasks of a worker that is asked to leave may still run"),
    "windrow.client.reconnect-timeout": Setting("30s", "How long a client whose connection was cut tries to come back"),
    "windrow.worker.reconnect-timeout": Setting("30s", "How long a worker or nanny does; 0: not at all"),
    "windrow.sign-of-life": Setting("5s", "How often a silent party of a connection says that it is there"),
    "windrow.local-sockets": Setting(
        True, "Whether parties on one host, of one user, use unix sockets where their address is a tcp one (Linux)"
    ),
    "windrow.backlog-limit": Setting(
        "256 MiB", "What may wait, unasked for, for a party that takes nothing; with more, threads wait that make work"
    ),
    "windrow.stall-timeout": Setting("30s", "How long a party for which that waits may take nothing"),
    "windrow.inline-limit": Setting("16 KiB", "Results up to this size travel inside the message that reports them"),
    "windrow.output.keep": Setting(True, "Whether what tasks print and log is kept for `Future.logs`"),
    "windrow.output.level": Setting(
        None, "The least level of log records that are kept and made; None: all that loggers let through"
    ),
    "windrow.output.rate": Setting("1 MiB", "How much of it a worker sends a second; further lines are only counted"),
    "windrow.output.task-bytes": Setting("64 KiB", "How much of it is kept of a task: the last"),
    "windrow.output.bytes": Setting("32 MiB", "How much of it a scheduler keeps altogether"),
    "windrow.output.forget-after": Setting("10 minutes", "How long it is kept of a task that is forgotten"),
    "windrow.shared-memory.enabled": Setting(
        True, "Whether large values pass between processes of one host as memory that both map (Linux)"
    ),
    "windrow.shared-memory.threshold": Setting("256 KiB", "Values with at least so much in large buffers do"),
    "windrow.shared-memory.idle-fraction": Setting(
        0.10, "Of the memory limit: so much of such memory is kept to be used again; 0: none"
    ),
    "windrow.shared-memory.idle-time": Setting("30s", "For how long it is kept"),
    "windrow.secret-file": Setting(
        None, "A file with the secret of clusters that did not publish theirs on this machine"
    ),
    "windrow.scheduler.cannot-run-warning": Setting(
        "3s",
        "How long no worker may be able to run a task before its client is warned (in up to 2 s more); None: never",
    ),
    "windrow.scheduler.standstill-warning": Setting(
        "30s",
        "How long nothing may move, while workers idle that could run what waits, before it is logged; None: never",
    ),
    "windrow.dashboard.ready-after": Setting(
        "5s", "How long after its start a scheduler has its dashboard get ready for who may come; None: not before"
    ),
    "windrow.worker-class": Setting(None, "The dotted name of what nannies make in their processes; None: `Worker`"),
}
"""Every key that windrow reads without being given a default."""

_MISSING = object()


def get(key: str, default: object = _MISSING) -> object:
    """Return the value of a key: what the user has configured, else ``default``, else the table's.

    Raises
    ------
    KeyError
        The key is not configured, not in the table, and no default is given.

    Examples
    --------
    >>> get("no.such.key", 7)
    7
    """
    if default is _MISSING:
        if key in DEFAULTS:
            default = DEFAULTS[key].default
        elif not _is_configured():
            raise KeyError(f"no setting {key!r}; the known ones are in windrow.config.DEFAULTS")
    if not _is_configured():
        return default
    import dask.config

    value: object = dask.config.get(key) if default is _MISSING else dask.config.get(key, default)
    return value


def nested(values: Mapping[str, object]) -> dict[str, object]:
    """Return settings as a tree, whether they are written as one or by dotted keys.

    Examples
    --------
    >>> nested({"distributed.worker.memory": {"pause": False}, "distributed.nanny.environ": {}})
    {'distributed': {'worker': {'memory': {'pause': False}}, 'nanny': {'environ': {}}}}
    """
    tree: dict[str, object] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        branch: Any = tree
        for part in above:
            branch = branch.setdefault(part, {})
        leaf = nested(value) if isinstance(value, Mapping) else value
        there = branch.get(last)
        if isinstance(there, dict) and isinstance(leaf, dict):
            leaf = {**there, **leaf}
        branch[last] = leaf
    return tree


def adopt(values: Mapping[str, object]) -> None:
    """Have these settings hold in this process, before any other, from now on.

    Examples
    --------
    >>> adopt({})
    """
    if values:
        import dask.config

        dask.config.update(dask.config.config, values)


def seconds(key: str) -> float:
    """Return a setting that is a time, in seconds.

    Examples
    --------
    >>> seconds("windrow.handshake-timeout")
    10.0
    """
    value = get(key)
    if not isinstance(value, (int, float, str)):
        raise TypeError(f"the setting {key!r} is {value!r}; a time such as '10s' is needed")
    return parse_timedelta(value)


def size_bytes(key: str) -> int:
    """Return a setting that is a size, in bytes.

    Examples
    --------
    >>> size_bytes("windrow.inline-limit")
    16384
    """
    value = get(key)
    if not isinstance(value, (int, float, str)):
        raise TypeError(f"the setting {key!r} is {value!r}; a size such as '16 KiB' is needed")
    return parse_bytes(value)


# ---------------------------------------------------------------- is anything configured


def _is_configured() -> bool:
    return "dask.config" in sys.modules or any(name.startswith("DASK_") for name in os.environ) or _has_files()


_files_found: bool | None = None


def _has_files() -> bool:
    """Whether a configuration file says anything; looked up once in the life of a process."""
    global _files_found
    if _files_found is None:
        _files_found = any(_says_something(path) for path in _config_files(_config_directories()))
    return _files_found


def _config_directories() -> list[str]:
    """Return the places where dask looks; those named by variables are no matter here, as any DASK_ variable is."""
    homes = ["/etc/dask", os.path.join(os.path.expanduser("~"), ".config", "dask")]
    return homes + [os.path.join(prefix, "etc", "dask") for prefix in dict.fromkeys([sys.prefix, *site.PREFIXES])]


def _config_files(directories: list[str]) -> list[str]:
    found = []
    for directory in directories:
        try:
            names = os.listdir(directory)
        except OSError:  # not there, or not for us to read: nothing is configured by it
            continue
        found += [os.path.join(directory, name) for name in names if name.endswith((".yaml", ".yml", ".json"))]
    return found


def _says_something(path: str) -> bool:
    """Whether a file holds more than comments: dask leaves its defaults, commented out, in the user's home."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.strip() and not line.lstrip().startswith("#") for line in file)
    except OSError:  # dask cannot read it either
        return False


# ---------------------------------------------------------------- times and sizes

_SECONDS = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "µs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400.0),
}
_BYTES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", 1):
    _BYTES |= {f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power, f"{_letter}i": 1024**_power}
    _BYTES[_letter] = 1000**_power


def parse_timedelta(value: float | str) -> float:
    """Return a time in seconds; a bare number is one already.

    Examples
    --------
    >>> parse_timedelta("500ms"), parse_timedelta("5 minutes"), parse_timedelta(3)
    (0.5, 300.0, 3.0)
    """
    return _parse(value, _SECONDS, "time", "10s, 500ms, 5 minutes")


def parse_bytes(value: float | str) -> int:
    """Return a size in bytes; a bare number is one already.

    Examples
    --------
    >>> parse_bytes("2 GiB"), parse_bytes("4GB"), parse_bytes(1e6)
    (2147483648, 4000000000, 1000000)
    """
    return int(_parse(value, _BYTES, "size", "100 MB, 4GiB, 1e9"))


def _parse(value: float | str, units: dict[str, float] | dict[str, int], what: str, examples: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"a {what} is a number or a str such as {examples}; this is a {type(value).__name__}")
    if not isinstance(value, str):
        return float(value)
    text = value.replace(" ", "").lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzµ")
    factor = units.get(text[len(number) :])
    try:
        if factor is not None:
            return float(number or 1) * factor
    except ValueError:  # not a number: told below, as an unknown unit is
        pass
    raise ValueError(f"{value!r} is no {what}; write it as in {examples}")

"""A cluster's state, as ``Client.dump_cluster_state`` has written it: to read it again, and to have it written.

What lives here: `DumpArtefact`, which reads, and `ClusterDump`, which has a scheduler write before it closes. What this
file must never know: how the state was gathered.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from windrow.keys import from_plain, is_key, label
from windrow.plugins.base import SchedulerPlugin

__all__ = ["ClusterDump", "DumpArtefact"]


class DumpArtefact(Mapping[str, Any]):
    """The state of a cluster at one moment, as a mapping of ``"scheduler"``, ``"workers"`` and ``"versions"``.

    Examples
    --------
    >>> task = {"key": "inc-1", "state": "memory"}
    >>> dump = DumpArtefact({"scheduler": {"tasks": {"inc-1": task}}, "workers": {}, "versions": {}})
    >>> dump.scheduler_tasks_in_state("memory")
    [{'key': 'inc-1', 'state': 'memory'}]
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.dump = state

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> DumpArtefact:
        """Read a file: a path, or a URL for fsspec, which gets ``**kwargs``."""
        import fsspec

        name = str(url)
        if not name.endswith((".msgpack.gz", ".yaml")):
            raise ValueError(
                f"url must end with .msgpack.gz or .yaml, as the files of dump_cluster_state do; not {url!r}"
            )
        with fsspec.open(name, "rb", **kwargs) as file:
            data = file.read()
        if name.endswith(".yaml"):
            import yaml

            return cls(yaml.safe_load(data))
        import gzip

        import msgspec

        return cls(msgspec.msgpack.decode(gzip.decompress(data)))

    def __getitem__(self, name: str) -> Any:
        return self.dump[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.dump)

    def __len__(self) -> int:
        return len(self.dump)

    # ---------------------------------------------------------------- questions

    def scheduler_tasks_in_state(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return the tasks that the scheduler knew, in this state, or in any."""
        return _in_state(self.dump["scheduler"], state)

    def worker_tasks_in_state(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return the tasks that workers knew, in this state, or in any."""
        return [task for worker in self.dump["workers"].values() for task in _in_state(worker, state)]

    def scheduler_story(self, *key_or_stimulus_id: Any) -> dict[Any, list[dict[str, Any]]]:
        """Return where the scheduler says these tasks stood, by key."""
        tasks = self.dump["scheduler"]["tasks"]
        return {key: [tasks[_name(key)]] if _name(key) in tasks else [] for key in key_or_stimulus_id}

    def worker_story(self, *key_or_stimulus_id: Any) -> dict[Any, list[dict[str, Any]]]:
        """Return where workers say these tasks stood, by key."""
        workers = self.dump["workers"].items()
        return {
            key: [
                {"worker": address, **worker["tasks"][_name(key)]}
                for address, worker in workers
                if _name(key) in worker["tasks"]
            ]
            for key in key_or_stimulus_id
        }

    def missing_workers(self) -> list[str]:
        """Return the addresses of workers that the scheduler knew, and that gave no answer."""
        return [address for address, worker in self.dump["workers"].items() if not worker["answered"]]

    # ---------------------------------------------------------------- files

    def to_yamls(
        self,
        root_dir: str | Path | None = None,
        worker_expand_keys: Collection[str] = ("config", "log", "logs", "tasks"),
        scheduler_expand_keys: Collection[str] = (
            "events",
            "extensions",
            "log",
            "task_groups",
            "tasks",
            "transition_log",
            "workers",
        ),
    ) -> None:
        """Write the state as small files of YAML, to search in: a directory for the scheduler, and one for each worker.

        Parameters
        ----------
        root_dir
            Where to; by default the present directory.
        worker_expand_keys, scheduler_expand_keys
            What gets a file of its own; the rest is in ``general.yaml``.
        """
        root = Path(root_dir) if root_dir is not None else Path.cwd()
        _expand(self.dump["scheduler"], root / "scheduler", scheduler_expand_keys)
        for address, worker in self.dump["workers"].items():
            _expand(worker, root / address.replace("://", "-").replace("/", "_"), worker_expand_keys)


def _in_state(party: dict[str, Any], state: str | None) -> list[dict[str, Any]]:
    return [task for task in party["tasks"].values() if state is None or task["state"] == state]


def _name(key: Any) -> str:
    return label(from_plain(key)) if is_key(key) else str(key)


def _expand(state: dict[str, Any], directory: Path, names: Collection[str]) -> None:
    import yaml

    directory.mkdir(parents=True, exist_ok=True)
    parts = {name: state[name] for name in names if name in state}
    parts["general"] = {name: value for name, value in state.items() if name not in parts}
    for name, part in parts.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(part, sort_keys=False), encoding="utf-8")


class ClusterDump(SchedulerPlugin):
    """Has the scheduler write the state of its cluster before it closes; see ``Client.dump_cluster_state``.

    Parameters
    ----------
    url
        A path where the scheduler runs, or a URL for fsspec.
    exclude
        Facts of tasks to leave out.
    format_
        ``"msgpack"`` or ``"yaml"``.
    **storage_options
        For fsspec.

    Examples
    --------
    >>> client.register_plugin(ClusterDump("s3://bucket/last-words"))  # doctest: +SKIP
    """

    name = "cluster-dump"

    def __init__(
        self,
        url: str,
        exclude: Collection[str] = ("run_spec",),
        format_: str = "msgpack",
        **storage_options: Any,
    ) -> None:
        from windrow.client.dump import checked_format

        self.url = str(url)
        self.exclude = tuple(exclude)
        self.format = checked_format(format_)
        self.storage_options = storage_options
        self._address = ""

    async def start(self, scheduler: Any) -> None:
        """Remember where the scheduler is."""
        self._address = scheduler.address

    async def before_close(self) -> None:
        """Write."""
        front: Any = sys.modules["windrow"]
        async with front.Client(self._address, asynchronous=True, set_as_default=False) as client:
            await client.dump_cluster_state(
                self.url,
                write_from_scheduler=False,
                exclude=self.exclude,
                format=self.format,
                **self.storage_options,
            )

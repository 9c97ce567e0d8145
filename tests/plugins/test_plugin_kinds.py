"""What is a plugin, of which kind, and under which name."""

from __future__ import annotations

import pytest

from windrow import NannyPlugin, SchedulerPlugin, WorkerPlugin
from windrow.plugins import base


@pytest.mark.parametrize(
    ("plugin", "kind"), [(SchedulerPlugin(), "scheduler"), (WorkerPlugin(), "worker"), (NannyPlugin(), "nanny")]
)
def test_the_base_class_says_where_a_plugin_goes(plugin: object, kind: str) -> None:
    assert base.kind_of(plugin) == kind


def test_a_class_is_no_plugin() -> None:
    with pytest.raises(TypeError, match=r"write WorkerPlugin\(\)"):
        base.kind_of(WorkerPlugin)


def test_what_only_looks_like_a_plugin_is_none() -> None:
    class Duck:
        def setup(self, worker: object) -> None: ...

    with pytest.raises(TypeError, match="Duck is none"):
        base.kind_of(Duck())


def test_a_name_is_the_plugins_own_or_made_up_anew() -> None:
    plugin = WorkerPlugin()
    assert base.name_of(plugin) != base.name_of(plugin)
    plugin.name = "mine"  # type: ignore[attr-defined]
    assert base.name_of(plugin) == "mine"


def test_an_overridden_hook_is_told_from_one_that_is_not() -> None:
    class Mine(SchedulerPlugin):
        def restart(self, scheduler: object) -> None: ...

    plugin = Mine()
    assert base.overrides(plugin, "restart")
    assert not base.overrides(plugin, "transition")
    plugin.transition = lambda *args, **kwargs: None  # type: ignore[method-assign]
    assert base.overrides(plugin, "transition")


def test_the_hooks_of_the_base_classes_do_nothing() -> None:
    workers = [object()]
    assert SchedulerPlugin().valid_workers_downscaling(None, workers) is workers
    for plugin in (WorkerPlugin(), NannyPlugin()):
        assert plugin.setup(None) is plugin.teardown(None) is None
        assert plugin.idempotent is False
    assert NannyPlugin().restart is False

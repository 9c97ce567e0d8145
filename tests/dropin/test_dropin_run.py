"""``python -m windrow.dask``: programs run as ``python`` would run them, and the described page's own examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from dropin_help import dropped_in, pretend

TELL = "import sys, distributed\nprint(__name__, sys.argv, distributed.Client.__module__)\n"
OURS = "windrow.client.client"


def test_a_script_with_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    (tmp_path / "beside.py").write_text("import distributed\nname = distributed.LocalCluster.__module__\n")
    more = "import beside, __main__\nprint(beside.name, __main__.__file__ == __file__ == sys.argv[0])\n"
    script.write_text(TELL + more)
    said = dropped_in(str(script), "-x", "one")
    assert said == f"__main__ {[str(script), '-x', 'one']} {OURS}\nwindrow.deploy.local True\n"


def test_a_module_with_arguments(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TELL)
    said = dropped_in("-m", "program", "-x", path=tmp_path)
    assert said == f"__main__ {[str(tmp_path / 'program.py'), '-x']} {OURS}\n"


def test_code_with_arguments() -> None:
    assert dropped_in("-c", TELL, "-x") == f"__main__ {['-c', '-x']} {OURS}\n"


def test_a_directory_with_a_main_module(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(TELL)
    assert dropped_in(str(tmp_path), "-x") == f"__main__ {[str(tmp_path), '-x']} {OURS}\n"


def test_the_tests_of_a_program_with_an_installed_one(tmp_path: Path) -> None:
    suite = tmp_path / "test_mine.py"
    suite.write_text(
        "from distributed.utils_test import gen_cluster, inc\n"
        "@gen_cluster(client=True)\nasync def test_inc(c, s, a, b):\n    assert await c.submit(inc, 1) == 2\n"
        f"    assert type(c).__module__ == {OURS!r}\n"
    )
    said = dropped_in("-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), path=pretend(tmp_path))
    assert "1 passed" in said


def test_an_exit_code_is_passed_on() -> None:
    dropped_in("-c", "import sys; sys.exit(7)", code=7)
    assert "ZeroDivisionError" in dropped_in("-c", "1 / 0", code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "usage: python -m windrow.dask script.py"),
        (["--help"], 0, "usage: python -m windrow.dask script.py"),
        (["--version"], 0, "windrow "),
        (["-m"], 1, "-m needs a module"),
        (["-c"], 1, "-c needs code"),
        (["-x"], 1, "there is no option -x"),
        (["nowhere.py"], 1, "can't open file 'nowhere.py': No such file"),
    ],
)
def test_what_cannot_be_run_is_told(arguments: list[str], code: int, words: str) -> None:
    assert words in dropped_in(*arguments, code=code)


def test_functions_of_the_script_run_on_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from dask.distributed import Client, get_worker\nfrom distributed.utils import thread_state\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "def work(point):\n    return Point(point.x + 1), get_worker().name, hasattr(thread_state, 'execution_state')\n"
        "client = Client(n_workers=1, threads_per_worker=1, dashboard_address=None)\n"
        "point, name, inside = client.submit(work, Point(1)).result()\n"
        "print(point.x, name, inside, hasattr(thread_state, 'execution_state'))\n"
    )
    assert dropped_in(str(script)) == "2 0 True False\n"


PAGE = """
from dask.distributed import Client
client = Client()
assert client.submit(sum, [1, 2]).result() == 3
assert client.dashboard_link.endswith("/status")
client.close()

client = Client(processes=False)
assert client.cluster.scheduler_address.startswith("inproc://")
client.close()

from dask.distributed import Client, LocalCluster
cluster = LocalCluster()
client = Client(cluster)
assert client.cluster is cluster
print(repr(cluster))
print(cluster.dashboard_link)
print(sorted(map(str, cluster.get_logs()))[0])
cluster.scale(3)
client.wait_for_workers(3)
assert sorted(client.map(pow, [2, 3], [2, 2])[1:][0].result() for _ in [0]) == [9]
cluster.adapt(minimum=1, maximum=10)
client.close()
cluster.close()

cluster = LocalCluster(service_kwargs={'dashboard': {'prefix': '/foo'}}, dashboard_address=':0')
assert '/foo/' in cluster.dashboard_link
cluster.close()

from dask.distributed import Client, SubprocessCluster
cluster = SubprocessCluster(n_workers=1)
client = Client(cluster)
assert client.submit(sum, [1, 2]).result() == 3
client.close()
cluster.close()

import asyncio
async def f():
    async with Client(asynchronous=True, n_workers=1, processes=False, dashboard_address=None) as client:
        return await client.submit(lambda x: x + 1, 10)
print(asyncio.run(f()))
"""


def test_the_described_pages_examples_word_for_word(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(PAGE)
    lines = [line for line in dropped_in(str(script)).splitlines() if "UserWarning" not in line and line[0] != " "]
    assert lines[0].startswith("LocalCluster(")
    assert "workers=" in lines[0]
    assert lines[1].endswith("/status")
    assert lines[2:] == ["Cluster", "11"]


COLLECTIONS = """
import dask, dask.array as da, pandas as pd, dask.dataframe as dd
from dask.utils import get_default_shuffle_method, get_scheduler_lock
from dask.distributed import Client, Lock, wait
import distributed

client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
get = dask.base.get_scheduler()
assert isinstance(get.__self__, Client) and get == client.get, get
assert dask.base.get_scheduler(scheduler="dask.distributed") == client.get
assert type(get_scheduler_lock()) is Lock
assert get_default_shuffle_method() == "tasks"
x = da.ones((200, 200), chunks=(1, 200)).rechunk((200, 1)).sum()
assert x.compute() == 40_000
frame = dd.from_pandas(pd.DataFrame({"a": range(20), "b": [0, 1] * 10}), npartitions=4)
assert len(frame.shuffle("b").compute()) == 20
kept = frame.persist()
wait(kept)
assert dask.base.wait(kept).not_done == set()

def inside():
    get = dask.base.get_scheduler()
    from distributed import get_client
    return isinstance(get.__self__, Client), get == get_client().get, int(da.ones(4, chunks=2).sum().compute())

print(client.submit(inside, pure=False).result())
"""


def test_dask_itself_takes_it_for_the_real_one(tmp_path: Path) -> None:
    script = tmp_path / "collections_program.py"
    script.write_text(COLLECTIONS)
    assert dropped_in(str(script)).splitlines()[-1] == "(True, True, 4)"

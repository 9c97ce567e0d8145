"""Functions: when a pickle is reused, and when it must not be."""

from __future__ import annotations

import gc
import operator
import pickle
import sys
import types
import weakref
from functools import partial

import pytest

from windrow.client import functions as module
from windrow.client import submit
from windrow.client.functions import Declared, Fingerprint, Function, Functions, name_of
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire.blobs import Attached


@pytest.fixture
def functions():
    return Functions()


@pytest.fixture
def dumps(monkeypatch):
    """Count what is pickled."""
    calls = []
    monkeypatch.setattr(
        module.payload, "dumps", lambda obj, *rest, _real=payload.dumps: calls.append(obj) or _real(obj)
    )
    return calls


def notebook(text, **names):
    """Names as a notebook's cell would leave them in ``__main__``."""
    variables = {"__name__": "__main__", **names}
    exec(text, variables)
    return variables


def run(function, *args):
    return payload.loads(function.code)(*args)


def test_a_lambda_is_pickled_once(functions, dumps):
    double = lambda x: 2 * x  # noqa: E731
    first, second = functions.find(double), functions.find(double)
    assert first is second
    assert dumps == [double]
    assert run(first, 4) == 8


def test_an_importable_function_is_found_by_its_code(functions):
    assert functions.find(operator.neg) is functions.find(operator.neg)
    assert functions.find(operator.neg).digest != functions.find(operator.pos).digest


def test_redefining_a_helper_takes_effect_at_once(functions):
    cells = notebook("def helper(x): return x + 1\ndef f(x): return helper(x)")
    assert run(functions.find(cells["f"]), 1) == 2
    before = functions.find(cells["f"]).digest
    exec("def helper(x): return x + 100", cells)
    assert run(functions.find(cells["f"]), 1) == 101
    assert functions.find(cells["f"]).digest != before


def test_rebinding_a_global_number_takes_effect(functions):
    cells = notebook("scale = 2\ndef f(x): return scale * x")
    assert run(functions.find(cells["f"]), 5) == 10
    cells["scale"] = 3
    assert run(functions.find(cells["f"]), 5) == 15


def test_a_global_that_appears_later_takes_effect(functions):
    cells = notebook("def f(x):\n    try:\n        return extra + x\n    except NameError:\n        return None")
    assert run(functions.find(cells["f"]), 5) is None
    cells["extra"] = 1
    assert run(functions.find(cells["f"]), 5) == 6


def test_a_helper_of_a_helper_counts(functions):
    cells = notebook("k = 1\ndef g(x): return x + k\ndef h(x): return g(x)\ndef f(x): return h(x)")
    assert run(functions.find(cells["f"]), 1) == 2
    cells["k"] = 10
    assert run(functions.find(cells["f"]), 1) == 11


def test_names_inside_nested_functions_count(functions):
    cells = notebook("k = 1\ndef f(x): return [(lambda: k)() for _ in range(x)]")
    assert run(functions.find(cells["f"]), 2) == [1, 1]
    cells["k"] = 5
    assert run(functions.find(cells["f"]), 2) == [5, 5]


def test_changing_a_closure_takes_effect(functions):
    count = 1

    def f():
        return count

    assert run(functions.find(f)) == 1
    count = 2
    assert run(functions.find(f)) == 2


def test_a_list_in_a_closure_is_pickled_each_time(functions, dumps):
    things = [1]

    def f():
        return things

    assert run(functions.find(f)) == [1]
    things.append(2)
    assert run(functions.find(f)) == [1, 2]
    assert len(dumps) == 2
    assert Fingerprint.take(f) is None


def test_an_instance_among_the_globals_is_pickled_each_time(functions):
    box = types.SimpleNamespace(value=1)
    cells = notebook("def f(): return box.value", box=box)
    assert run(functions.find(cells["f"])) == 1
    box.value = 2
    assert run(functions.find(cells["f"])) == 2


def test_a_class_of_the_main_module_is_mutable(functions):
    cells = notebook("class C:\n    x = 1\ndef f(): return C.x")
    assert run(functions.find(cells["f"])) == 1
    cells["C"].x = 2
    assert run(functions.find(cells["f"])) == 2


def test_defaults_and_attributes_count(functions):
    cells = notebook("def f(x=1, *, y=10): return x + y + getattr(f, 'z', 0)")
    f = cells["f"]
    assert run(functions.find(f)) == 11
    f.__defaults__ = (2,)
    assert run(functions.find(f)) == 12
    f.__kwdefaults__["y"] = 20
    assert run(functions.find(f)) == 22
    f.z = 100
    assert run(functions.find(f)) == 122
    f.z = 200
    assert run(functions.find(f)) == 222


def test_exchanged_code_counts(functions):
    cells = notebook("def f(): return 1\ndef g(): return 2")
    assert run(functions.find(cells["f"])) == 1
    cells["f"].__code__ = cells["g"].__code__
    assert run(functions.find(cells["f"])) == 2


def test_recursive_functions_are_remembered_and_can_be_collected(functions, dumps):
    cells = notebook("def f(x): return 1 if x < 2 else x * f(x - 1)")
    assert functions.find(cells["f"]) is functions.find(cells["f"])
    assert run(functions.find(cells["f"]), 5) == 120
    assert len(dumps) == 1
    dumps.clear()
    ref = weakref.ref(cells.pop("f"))
    gc.collect()
    assert ref() is None
    assert functions._by_id == {}


def test_mutually_recursive_functions_end(functions):
    cells = notebook(
        "def even(n): return True if n == 0 else odd(n - 1)\ndef odd(n): return False if n == 0 else even(n - 1)"
    )
    assert run(functions.find(cells["even"]), 10) is True
    exec("def odd(n): return 'new'", cells)
    assert run(functions.find(cells["even"]), 10) == "new"


def test_partials_are_remembered_with_their_parts(functions, dumps):
    cells = notebook("k = 1\ndef f(x, y): return x + y + k")
    bound = partial(cells["f"], 10)
    assert functions.find(bound) is functions.find(bound)
    assert len(dumps) == 1
    assert run(functions.find(bound), 1) == 12
    cells["k"] = 2
    assert run(functions.find(bound), 1) == 13


def test_modules_and_importable_things_are_atoms(functions, dumps):
    cells = notebook("import math\nfrom operator import neg\ndef f(x): return neg(math.floor(x))")
    assert functions.find(cells["f"]) is functions.find(cells["f"])
    assert len(dumps) == 1
    assert run(functions.find(cells["f"]), 1.5) == -1


def test_a_submodule_imported_later_is_taken_along(functions):
    import xml

    cells = notebook("def f(): return xml.dom.minidom.__name__", xml=xml)
    for name in ("xml.dom", "xml.dom.minidom"):
        sys.modules.pop(name, None)
    before = functions.find(cells["f"])
    import xml.dom.minidom

    assert functions.find(cells["f"]) is not before


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (lambda: None, "lambda"),
        (sorted, "sorted"),
        (partial(partial(sorted, key=None), reverse=True), "sorted"),
        (operator.itemgetter(1), "itemgetter"),
        (types.SimpleNamespace, "SimpleNamespace"),
    ],
)
def test_names(func, name):
    assert name_of(func) == name


def test_callable_objects_travel(functions):
    assert run(functions.find(operator.itemgetter(1)), [5, 6]) == 6
    assert pickle.loads(functions.find(dict).code) is dict


def test_declared_functions_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "DECLARED_MAX", 2)
    declared, out = Declared(), []
    a, b, c = (Function(name, name.encode()) for name in "abc")
    for function in (a, a, b, a, c, c, b):
        declared.declare(function, out)
    words = [x.name if isinstance(x, m.Declare) else [{a.digest: "-a", b.digest: "-b"}[x.functions[0]]] for x in out]
    assert words == ["a", "b", "c", ["-b"], "b", ["-a"]]


def test_a_lambda_made_anew_in_a_loop_is_pickled_once(functions, dumps):
    found = [functions.find(lambda x, k=1: x + k) for _ in range(5)]
    assert len(set(map(id, found))) == 1
    assert len(dumps) == 1


def test_functions_of_one_line_with_other_contents_are_told_apart(functions):
    def make(k):
        return lambda x: x + k

    def default(k):
        return lambda x, k=k: x + k

    for maker in (make, default):
        assert [run(functions.find(maker(k)), 10) for k in (1, 2, 1)] == [11, 12, 11]
    marked = make(1)
    marked.note = "x"
    assert run(functions.find(marked), 10) == 11
    named = make(1)
    named.__name__ = "named"
    assert functions.find(named).name == "named"


def test_the_same_code_in_another_module_is_told_apart(functions):
    code = compile("f = lambda: k", "cell", "exec")
    first, second = {"__name__": "__main__", "k": 1}, {"__name__": "__main__", "k": 2}
    exec(code, first)
    exec(code, second)
    assert first["f"].__code__ is second["f"].__code__
    assert [run(functions.find(space["f"])) for space in (first, second, first)] == [1, 2, 1]


def test_self_reference_through_a_closure(functions, dumps):
    def make(base):
        def f(x):
            return base if x < 1 else f(x - 1) + 1

        return f

    one, two = make(10), make(20)
    assert functions.find(one) is functions.find(one)
    assert len(dumps) == 1
    assert [run(functions.find(f), 3) for f in (one, two, make(10))] == [13, 23, 13]


def test_large_code_travels_beside_the_message(functions):
    data = bytes(100_000)
    function = functions.find(lambda: data)
    assert isinstance(function.code, Attached)
    assert run(function) == data


def test_a_function_that_its_module_no_longer_names_is_pickled_by_value(monkeypatch):
    import textwrap

    functions = Functions()
    first = functions.find(textwrap.dedent)
    assert functions.find(textwrap.dedent) is first
    old = textwrap.dedent
    monkeypatch.setattr(textwrap, "dedent", lambda text: text)
    assert functions.find(old).code != first.code


def test_a_module_registered_by_value_late_is_heeded():
    import textwrap

    import cloudpickle

    functions = Functions()
    by_reference = functions.find(textwrap.dedent)
    cloudpickle.register_pickle_by_value(textwrap)
    try:
        assert functions.find(textwrap.dedent).code != by_reference.code
    finally:
        cloudpickle.unregister_pickle_by_value(textwrap)


def test_one_cell_run_in_two_sessions_makes_the_same_keys():
    def defined_in(file):
        return notebook(compile("def double(x): return 2 * x", file, "exec"))["double"]

    functions = Functions()
    here, there = (functions.find(defined_in(file)) for file in ("/tmp/kernel_1/77.py", "/tmp/kernel_20/77.py"))
    assert here.code != there.code
    arguments = [payload.dumps(((defined_in(file),), {})) for file in ("<input-1>", "<input-22>")]
    assert submit.pure_key(here, arguments[0], ()) == submit.pure_key(there, arguments[1], ())
    assert submit._pure_keys(here, "double", arguments[:1], []) == submit._pure_keys(there, "double", arguments[1:], [])

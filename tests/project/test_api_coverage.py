"""windrow has the interface that Dask users know, each name is in a test, and the comparison sees what it should."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import windrow


@pytest.fixture(scope="module")
def listed(api_coverage: ModuleType) -> Any:
    return api_coverage.load()


@pytest.fixture(scope="module")
def report(api_coverage: ModuleType, listed: Any) -> Any:
    return api_coverage.compare(listed, api_coverage.texts_of_tests())


# ---------------------------------------------------------------- windrow beside the list


def test_no_name_is_missing_or_differs(api_coverage: ModuleType, report: Any) -> None:
    if report.problems:
        only = api_coverage.Report(problems=report.problems, absent=report.absent)
        pytest.fail(f"{len(report.problems)} problems\n\n{only.text()}", pytrace=False)


def test_every_name_is_in_a_test(report: Any) -> None:
    if report.untested:
        pytest.fail("\n".join([f"{len(report.untested)} names are in no test", *report.untested]), pytrace=False)


def test_accepted_deviations_are_still_deviations(report: Any, listed: Any) -> None:
    assert report.stale == []
    assert [label for label, reason in listed["accepted"].items() if len(reason) < 10] == []


def test_list_is_sorted_and_every_entry_can_be_read(api_coverage: ModuleType, listed: Any) -> None:
    groups = list(listed["names"])
    assert groups == ["package", "elsewhere", *sorted(groups[2:])]
    for table in [*listed["names"].values(), *listed["later"].values(), listed["accepted"], listed["ways"]]:
        assert list(table) == sorted(table)
    for table in [*listed["names"].values(), *listed["later"].values()]:
        for wanted in table.values():
            assert wanted in {"attribute", "class", "exception", "protocol"} or api_coverage.parsed(wanted) is not None


def test_what_windrow_names_as_absent_is_promised_or_comes_later(api_coverage: ModuleType, listed: Any) -> None:
    labels = {label for _, _, label in api_coverage.labels_of(listed["names"])}
    labels.update(name for names in listed["later"].values() for name in names)
    assert sorted(windrow._ABSENT - labels) == []


# ---------------------------------------------------------------- the comparison of signatures

MARK = object()


def found(api_coverage: ModuleType, wanted: str, ours: Callable[..., Any]) -> dict[str, str]:
    return dict(api_coverage.differences(api_coverage.parsed(wanted), api_coverage.parameters_of(ours)))


@pytest.mark.parametrize(
    ("wanted", "ours"),
    [
        ("(x, y=1)", lambda x, y=1: 0),
        ("(x, y=1)", lambda x, y=1, z=2, *, n=3, **more: 0),
        ("(x)", lambda x=None: 0),
        ("(*, n=0)", lambda n=0.0: 0),
        ("(x, /)", lambda x: 0),
        ("(*args, n=None, **kwargs)", lambda *rest, n=None, **options: 0),
        ("(kind=UserWarning)", lambda kind=UserWarning: 0),
        ("(skip=...)", lambda skip=(len, abs): 0),
        ("(skip=('a', 'b'))", lambda skip=("a", "b"): 0),
    ],
)
def test_a_signature_that_takes_every_call_is_fine(
    wanted: str, ours: Callable[..., Any], api_coverage: ModuleType
) -> None:
    assert found(api_coverage, wanted, ours) == {}


@pytest.mark.parametrize(
    ("wanted", "ours", "label", "words"),
    [
        ("(x, y=1)", lambda x: 0, "y", "is not there"),
        ("(x, y=1)", lambda x, **more: 0, "y", "is not there"),
        ("(x)", lambda *args, **more: 0, "x", "is not there"),
        ("(*args)", lambda args=(): 0, "*args", "is not there"),
        ("(**kwargs)", lambda kwargs=None: 0, "**kwargs", "is not there"),
        ("(x=1)", lambda x=2: 0, "x=2", "ought to be 1"),
        ("(x=False)", lambda x=0: 0, "x=0", "ought to be False"),
        ("(x='60s')", lambda x=60: 0, "x=60", "ought to be '60s'"),
        ("(x=no_default)", lambda x=None: 0, "x=None", "ought to be no_default"),
        ("(x=no_default)", lambda x=MARK: 0, "x=...", "ought to be no_default"),
        ("(x=1)", lambda x: 0, "x", "has no default, ought to have 1"),
        ("(x, y)", lambda y, x: 0, "x", "is not at its place: by position the order ought to be x, y"),
        ("(x)", lambda n=1, x=2: 0, "x", "is not at its place: by position the order ought to be x"),
        ("(x, *args)", lambda x, n=1, *args: 0, "n", "would take the first of them"),
        ("(x)", lambda *, x: 0, "x", "is given by keyword only, ought to be by position or keyword"),
        ("(x)", lambda x, /: 0, "x", "is given by position only, ought to be by position or keyword"),
        ("(x)", lambda x, extra: 0, "extra", "must have a default"),
    ],
)
def test_a_signature_that_refuses_a_call_is_found(
    wanted: str, ours: Callable[..., Any], label: str, words: str, api_coverage: ModuleType
) -> None:
    differences = found(api_coverage, wanted, ours)
    assert list(differences) == [label]
    assert words in differences[label]


# ---------------------------------------------------------------- the comparison of names


class Base:
    """What a class of windrow can look like."""

    __slots__ = ("slot",)

    def __init__(self) -> None:
        self.slot = 1

    @property
    def fact(self) -> int:
        """One."""
        return 1

    @classmethod
    def made(cls, n: int = 1) -> "Base":
        """Make one."""
        return cls()

    def call(self, x: int, y: int = 1) -> int:
        """Add."""
        return x + y

    async def close(self) -> None:
        """Wait for nothing."""

    def __enter__(self) -> "Base":
        return self


class Cat(Base):
    """It has a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 1
        self.named: int = 2


Cat.__module__ = "windrow.cat"  # only windrow's own code is read for what it assigns


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> None:
    """windrow with a cat."""
    monkeypatch.setitem(sys.modules, "windrow.cat", sys.modules[__name__])
    monkeypatch.setattr(windrow, "Cat", Cat, raising=False)
    monkeypatch.setattr(windrow, "stroke", lambda cat, times=1: cat, raising=False)


def problems(api_coverage: ModuleType, names: dict[str, dict[str, str]], **tables: dict[str, str]) -> dict[str, str]:
    report = api_coverage.compare({"names": names, **tables}, {})
    return {problem.label: problem.words for problem in report.problems}


MEMBERS = {
    "call": "(x, y=1)",
    "close": "async ()",
    "fact": "attribute",
    "given": "attribute",
    "made": "(n=1)",
    "named": "attribute",
    "slot": "attribute",
    "__enter__": "protocol",
}


@pytest.mark.usefixtures("house")
def test_names_that_are_there_are_fine(api_coverage: ModuleType) -> None:
    package = {"Cat": "()", "stroke": "(cat, times=1)", "KilledWorker": "exception", "Client": "class"}
    assert problems(api_coverage, {"package": package, "Cat": MEMBERS}) == {}


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize(
    ("group", "name", "wanted", "words"),
    [
        ("package", "Dog", "()", "is not there: ()"),
        ("package", "Lockkk", "class", "is not there: class"),
        ("package", "stroke", "(cat, times=2)", "ought to be 2"),
        ("package", "stroke", "async (cat, times=1)", "ought to be a coroutine function"),
        ("package", "stroke", "class", "ought to be a class"),
        ("package", "Client", "exception", "ought to be an exception"),
        ("package", "wire", "()", "cannot be called, ought to be ()"),
        ("elsewhere", "NoSuchThing", "class", "is not there: class"),
        ("Cat", "purr", "(loudly=False)", "is not there: (loudly=False)"),
        ("Cat", "whiskers", "attribute", "is not there: attribute"),
        ("Cat", "call", "(x, y=2)", "ought to be 2"),
        ("Cat", "call", "attribute", "is a method, ought to be an attribute"),
        ("Cat", "made", "attribute", "is a method, ought to be an attribute"),
        ("Cat", "fact", "()", "is an attribute, ought to be a method: ()"),
        ("Cat", "given", "()", "is an attribute, ought to be a method: ()"),
        ("Cat", "__exit__", "protocol", "is not there: protocol"),
        ("Dog", "bark", "()", "is not there: ()"),
    ],
)
def test_a_name_that_is_not_as_listed_is_found(
    group: str, name: str, wanted: str, words: str, api_coverage: ModuleType
) -> None:
    import windrow.wire  # noqa: F401  a submodule is no function of the same name

    assert list(problems(api_coverage, {group: {name: wanted}}).values()) == [words]


def test_a_name_that_windrow_refuses_as_absent_is_missing(
    api_coverage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from windrow.client.absent import lacking

    monkeypatch.setattr(windrow, "Bird", lacking(["sing"])(type("Bird", (), {})), raising=False)
    monkeypatch.setattr(windrow, "_ABSENT", frozenset({"Nest"}))
    names = {"package": {"Bird": "()", "Nest": "()"}, "Bird": {"sing": "()"}}
    assert problems(api_coverage, names) == {"Nest": "is not there: ()", "Bird.sing": "is not there: ()"}


def test_names_of_other_modules_are_found_wherever_they_are(api_coverage: ModuleType) -> None:
    names = {"elsewhere": {"WrongSecret": "exception"}, "Waiter": {"settle": "(entry)"}}
    assert problems(api_coverage, names) == {}


def test_a_class_that_is_only_given_is_known_by_what_gives_it(
    api_coverage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def borrow() -> "windrow.Future | None":
        return None

    monkeypatch.setattr(windrow, "borrow", borrow, raising=False)
    names = {"Loan": {"done": "()", "renew": "()"}}
    assert problems(api_coverage, names, ways={"Loan": "borrow"}) == {"Loan.renew": "is not there: ()"}
    callbacks = {"Thread": {"start": "()"}}
    assert problems(api_coverage, callbacks, ways={"Thread": "Client.callbacks"}) == {}
    report = api_coverage.compare({"names": names, "ways": {"Loan": "lend"}}, {})
    assert "Loan (2): annotate what lend gives with its class" in report.text()


@pytest.mark.usefixtures("house")
def test_an_accepted_deviation_is_no_problem_until_it_is_another(api_coverage: ModuleType) -> None:
    names = {"Cat": {"call": "(x, y=2)", "purr": "()"}}
    accepted = {"Cat.call(y=1)": "as good", "Cat.purr": "cats here are silent"}
    assert problems(api_coverage, names, accepted=accepted) == {}
    assert set(problems(api_coverage, names, accepted={"Cat.call(y=3)": "", "Cat.purr": ""})) == {"Cat.call(y=1)"}


@pytest.mark.usefixtures("house")
def test_an_accepted_deviation_that_is_none_is_told(api_coverage: ModuleType) -> None:
    names = {"package": {"Dog": "(name=None)"}, "Cat": {"call": "(x, y=1)"}}
    accepted = {"Cat.call(y=2)": "not so", "Dog(name=1)": "not there yet", "Cow": "in no list"}
    report = api_coverage.compare({"names": names, "accepted": accepted}, {})
    assert report.stale == ["Cat.call(y=2)", "Cow"]
    assert "Cow" in report.text()


# ---------------------------------------------------------------- the names in tests


@pytest.mark.parametrize(
    ("group", "name", "text", "is_tested"),
    [
        ("package", "print", "print(1)", False),
        ("package", "print", "import windrow\nwindrow.print(1)", True),
        ("package", "print", "from windrow import wait\nprint(1)", False),
        ("package", "print", "from windrow import (\n    print,\n    wait,\n)", True),
        ("package", "print", "RUN = 'from windrow import wait; print(1)'", False),
        ("package", "print", 'RUN = "from windrow import wait, print"', True),
        ("elsewhere", "Oops", "from windrow.errors import Oops", True),
        ("Queue", "get", "{}.get(1)  # a Queue", False),
        ("Queue", "get", "from windrow import Queue\nQueue().get()", True),
        ("Queue", "get", "from windrow import Queue\nget = 1", False),
        ("Queue", "get", "from windrow import Queue\nclass Mine(Queue):\n    get = 1", True),
        ("Queue", "get", "from windrow import Queue\nclass Mine(Queue):\n    def get(self): ...", True),
        ("Client", "get", "client.get({}, [])", True),
        ("Client", "get", "worker.get({}, [])", False),
        ("Queue", "__await__", "", True),
    ],
)
def test_a_name_is_tested_where_it_is_used(
    group: str, name: str, text: str, is_tested: bool, api_coverage: ModuleType
) -> None:
    wanted = "protocol" if name.startswith("__") else "()"
    assert (api_coverage.untested({group: {name: wanted}}, {"Client": "client"}, {"a.py": text}) == []) is is_tested


def test_tests_of_the_comparison_and_of_absence_prove_nothing(api_coverage: ModuleType, tmp_path: Path) -> None:
    for name in ("test_api_coverage.py", "test_client_absent.py", "test_work.py"):
        (tmp_path / name).write_text("from windrow import Lock")
    assert list(api_coverage.texts_of_tests(tmp_path)) == ["test_work.py"]


# ---------------------------------------------------------------- at the command line


@pytest.mark.parametrize(("wanted", "status"), [("class", 0), ("exception", 1)])
def test_status_tells_whether_anything_is_missing(
    wanted: str,
    status: int,
    api_coverage: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = {"names": {"package": {"Client": wanted}}, "later": {"a nicer world": {"peace": "(everywhere=True)"}}}
    monkeypatch.setattr(api_coverage, "load", lambda: listed)
    monkeypatch.setattr(sys, "argv", ["api_coverage.py"])
    assert api_coverage.main() == status
    printed = capsys.readouterr().out
    assert ("Client ought to be an exception" in printed) is bool(status)
    assert "peace" not in printed
    monkeypatch.setattr(sys, "argv", ["api_coverage.py", "--later"])
    assert api_coverage.main() == status
    assert "later, a nicer world (1)\n  peace: (everywhere=True)" in capsys.readouterr().out

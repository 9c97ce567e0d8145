"""The interface that Dask users know, beside what windrow has of it.

    python tools/api_coverage.py            # what is missing, differs, or is in no test; exits with 1 if anything is
    python tools/api_coverage.py --later    # and the names that come with later work

What lives here: the comparison and its words. The names, their signatures, and the deviations that are meant are data,
in tools/api_names.toml, whose head tells its format. What this file must never know: any one name.

A signature of windrow must take every call that the listed one takes, by position or by keyword, with the same
defaults. It may take more.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import windrow

ROOT = Path(__file__).resolve().parent.parent
NAMES = ROOT / "tools" / "api_names.toml"
SOURCE = ROOT / "src" / "windrow"
TESTS = ROOT / "tests"

PACKAGE, ELSEWHERE = "package", "elsewhere"
"""The groups whose names belong to no class: at the top of the package, or in any of its modules."""

UNPROVING = frozenset({"test_api_coverage.py", "test_client_absent.py"})
"""Test modules that name names without using what they name."""

VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "by position only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "by position or keyword",
    inspect.Parameter.KEYWORD_ONLY: "by keyword only",
}

ANY_DEFAULT = "..."


# ---------------------------------------------------------------- signatures


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``default`` is its text, None where there is no default."""

    name: str
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    default: str | None = None

    @property
    def label(self) -> str:
        """The name with its stars."""
        return VARIADIC.get(self.kind, "") + self.name


def parsed(text: str) -> list[Parameter]:
    """The parameters of a signature in the list, such as ``(x, *, n=1)``."""
    given = ast.parse(f"def f{text.removeprefix('async ')}: ...").body[0]
    assert isinstance(given, ast.FunctionDef)
    args = given.args
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + [ast.unparse(each) for each in args.defaults]
    only = len(args.posonlyargs)
    kinds: list[Any] = [inspect.Parameter.POSITIONAL_ONLY] * only
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * (len(positional) - only)
    found = [Parameter(arg.arg, kind, value) for arg, kind, value in zip(positional, kinds, defaults, strict=True)]
    if args.vararg:
        found.append(Parameter(args.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(Parameter(arg.arg, inspect.Parameter.KEYWORD_ONLY, ast.unparse(value) if value else None))
    if args.kwarg:
        found.append(Parameter(args.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
    return found


def parameters_of(function: Callable[..., Any], skip: int = 0) -> list[Parameter]:
    """The parameters of a function or class, after the first ``skip``."""
    given = list(inspect.signature(function).parameters.values())[skip:]
    return [Parameter(each.name, each.kind, default_text(each)) for each in given]


def default_text(parameter: inspect.Parameter) -> str | None:
    if parameter.default is parameter.empty:
        return None
    text = parameter.default.__name__ if inspect.isclass(parameter.default) else repr(parameter.default)
    return ANY_DEFAULT if " at 0x" in text else text  # an address is another each time


def same_default(wanted: str, ours: str) -> bool:
    """Whether two texts mean the same default: 0 and 0.0 do, 0 and False do not."""
    if wanted in (ours, ANY_DEFAULT):
        return True
    try:
        ours_value, wanted_value = ast.literal_eval(ours), ast.literal_eval(wanted)
    except (ValueError, SyntaxError):
        return False
    if isinstance(ours_value, bool) is not isinstance(wanted_value, bool):
        return False
    return bool(ours_value == wanted_value)


def differences(wanted: list[Parameter], ours: list[Parameter]) -> Iterator[tuple[str, str]]:
    """Each call that is refused or taken otherwise: the parameter's label, and what is wrong with it."""
    mine = {each.name: each for each in ours if each.kind not in VARIADIC}
    for each in wanted:
        if each.kind in VARIADIC:
            if not any(other.kind is each.kind for other in ours):
                yield each.label, "is not there"
        elif each.name not in mine:
            yield each.label, "is not there"
        elif words := misfit(each, mine[each.name]):
            yield each.label, words
        elif words := other_default(each, mine[each.name]):
            yield f"{each.name}={mine[each.name].default}", words
    yield from misplaced(wanted, ours)
    known = {each.name for each in wanted}
    for each in ours:
        if each.name not in known and each.kind not in VARIADIC and each.default is None:
            yield each.label, "must have a default: nobody gives it"


def misfit(wanted: Parameter, ours: Parameter) -> str | None:
    """What is wrong with a parameter of the right name, its place and default apart."""
    both = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if ours.kind not in (wanted.kind, both):
        return f"is given {KINDS[ours.kind]}, ought to be {KINDS[wanted.kind]}"
    if wanted.default is not None and ours.default is None:
        return f"has no default, ought to have {wanted.default}"
    return None


def other_default(wanted: Parameter, ours: Parameter) -> str | None:
    """What the default ought to be, if it is another. Where the listed one has none, a default refuses no call."""
    if wanted.default is None or ours.default is None or same_default(wanted.default, ours.default):
        return None
    return f"ought to be {wanted.default}"


def misplaced(wanted: list[Parameter], ours: list[Parameter]) -> Iterator[tuple[str, str]]:
    """Parameters that a call by position would reach under another name."""
    mine = positional(ours)
    theirs = [name for name in positional(wanted) if name in mine]
    for name, found in zip(theirs, mine, strict=False):
        if name != found:
            yield name, f"is not at its place: by position the order ought to be {', '.join(theirs)}"
            return
    takes_rest = [any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in given) for given in (wanted, ours)]
    if all(takes_rest) and len(mine) > len(theirs):
        yield mine[len(theirs)], "stands before the variadic arguments, and would take the first of them"


def positional(given: list[Parameter]) -> list[str]:
    return [each.name for each in given if each.kind not in (*VARIADIC, inspect.Parameter.KEYWORD_ONLY)]


# ---------------------------------------------------------------- where things are


@cache
def homes() -> Mapping[str, str]:
    """The module of each name that windrow's modules define at their top."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(["windrow", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        if module.endswith("__main__"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in defined(node):
                found.setdefault(name, module)
    return found


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def anywhere(name: str) -> object | None:
    """What has this name in any module of windrow."""
    module = homes().get(name)
    return None if module is None else getattr(importlib.import_module(module), name)


def at_top(name: str) -> object | None:
    """What `windrow` itself has under this name; what it refuses as absent is not there."""
    return getattr(windrow, name, None)


def class_of(group: str, listed: Mapping[str, Any]) -> type | None:
    """The class whose members a group lists.

    A class with a name of its own is looked up by it. One that programs only ever get from a call or a property is what
    the annotation of that says, as its name is nobody's business.
    """
    way = listed.get("ways", {}).get(group, group)
    owner, _, name = way.rpartition(".")
    found = inspect.getattr_static(at_top(owner), name, None) if owner else at_top(name)
    if isinstance(found, type):
        return found
    giver = found.fget if isinstance(found, property) else found
    annotation = getattr(inspect.unwrap(giver), "__annotations__", {}).get("return", "") if callable(giver) else ""
    for word in reversed(re.findall(r"\w+", str(annotation))):
        if isinstance(named := anywhere(word), type):
            return named
    named = None if group in listed["names"].get(PACKAGE, {}) else anywhere(group)
    return named if isinstance(named, type) else None


@cache
def assigned(cls: type) -> frozenset[str]:
    """Attributes that windrow's code gives the instances of a class."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("windrow"):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            names.update(
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            )
            names |= getattr(base, "__dataclass_fields__", {}).keys()
    return frozenset(names)


# ---------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class Problem:
    """One thing that a program would trip over; ``label`` is what the table of accepted deviations calls it."""

    group: str
    label: str
    words: str


@dataclass
class Report:
    """What was found; ``stale`` are accepted deviations that are none, ``absent`` says why whole groups are missing."""

    problems: list[Problem] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    names: int = 0

    def text(self) -> str:
        """Everything found, by group; empty when nothing was."""
        lines: list[str] = []
        groups: defaultdict[str, list[Problem]] = defaultdict(list)
        for problem in self.problems:
            groups[problem.group].append(problem)
        for group, problems in groups.items():
            why = f": {self.absent[group]}" if group in self.absent else ""
            lines += ["", f"{group} ({len(problems)}){why}", *(f"  {each.label} {each.words}" for each in problems)]
        if self.untested:
            lines += ["", f"in no test ({len(self.untested)})", *(f"  {label}" for label in self.untested)]
        if self.stale:
            lines += ["", f"accepted in {NAMES.name}, but no deviation (any more): take these out ({len(self.stale)})"]
            lines += [f"  {label}" for label in self.stale]
        return "\n".join(lines[1:])


def load(path: Path = NAMES) -> dict[str, Any]:
    """The list."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def labels_of(names: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Group, name and label of each name of the list."""
    for group, members in names.items():
        for name in members:
            yield group, name, name if group in (PACKAGE, ELSEWHERE) else f"{group}.{name}"


def compare(listed: Mapping[str, Any], texts: Mapping[str, str]) -> Report:
    """Look every name of the list up in windrow, and in the tests' texts by their file's name."""
    names, accepted = listed["names"], listed.get("accepted", {})
    report = Report()
    found = [problem for group in names for problem in problems_of(group, listed, report)]
    met = {problem.label for problem in found}
    report.problems = [problem for problem in found if problem.label not in accepted]
    report.names = sum(map(len, names.values()))
    report.untested = untested(names, listed.get("called", {}), texts)
    # Of a name that is not there at all it cannot be said yet whether it deviates.
    gone = {problem.label for problem in found if "(" not in problem.label}
    report.stale = [label for label in accepted if label not in met and label.partition("(")[0] not in gone]
    return report


def problems_of(group: str, listed: Mapping[str, Any], report: Report) -> Iterator[Problem]:
    """What is wrong with the names of one group; the report is told when its class is not there."""
    members = listed["names"][group]
    if group in (PACKAGE, ELSEWHERE):
        for name, wanted in members.items():
            value = at_top(name) if group == PACKAGE else anywhere(name)
            yield from judged(group, name, wanted, value, skip=0)
        return
    cls = class_of(group, listed)
    if cls is None:
        way = listed.get("ways", {}).get(group)
        report.absent[group] = f"annotate what {way} gives with its class" if way else "no such class"
        for name, wanted in members.items():
            yield Problem(group, f"{group}.{name}", f"is not there: {wanted}")
        return
    for name, wanted in members.items():
        yield from judged_member(cls, group, name, wanted)


def judged_member(cls: type, group: str, name: str, wanted: str) -> Iterator[Problem]:
    """What is wrong with one member of a class."""
    label = f"{group}.{name}"
    static = inspect.getattr_static(cls, name, None)
    if not hasattr(cls, name):
        refused = static is not None
        if refused or name not in assigned(cls):
            yield Problem(group, label, f"is not there: {wanted}")
        elif wanted != "attribute":
            yield Problem(group, label, f"is an attribute, ought to be a method: {wanted}")
        return
    bound = isinstance(static, classmethod | staticmethod)
    if wanted == "attribute":
        if inspect.isroutine(static) or bound:
            yield Problem(group, label, "is a method, ought to be an attribute")
    elif not callable(getattr(cls, name)):
        yield Problem(group, label, f"is an attribute, ought to be a method: {wanted}")
    elif wanted != "protocol":
        yield from judged(group, label, wanted, getattr(cls, name), skip=0 if bound else 1)


def judged(group: str, label: str, wanted: str, value: Any, skip: int) -> Iterator[Problem]:
    """What is wrong with one value, which is listed as ``wanted``."""
    if value is None:
        yield Problem(group, label, f"is not there: {wanted}")
    elif wanted == "attribute":
        return
    elif wanted == "class":
        if not isinstance(value, type):
            yield Problem(group, label, "ought to be a class")
    elif wanted == "exception":
        if not (isinstance(value, type) and issubclass(value, BaseException)):
            yield Problem(group, label, "ought to be an exception")
    elif isinstance(value, ModuleType) or not callable(value):
        yield Problem(group, label, f"cannot be called, ought to be {wanted}")
    else:
        if wanted.startswith("async ") and not inspect.iscoroutinefunction(value):
            yield Problem(group, label, "ought to be a coroutine function")
        try:
            ours = parameters_of(value, skip)
        except ValueError:
            yield Problem(group, label, f"has no signature that can be read, ought to be {wanted}")
            return
        for parameter, words in differences(parsed(wanted), ours):
            yield Problem(group, f"{label}({parameter})", words)


# ---------------------------------------------------------------- the tests


def texts_of_tests(folder: Path = TESTS) -> dict[str, str]:
    """The text of each test module that proves something, by its path."""
    paths = [path for path in sorted(folder.rglob("*.py")) if path.name not in UNPROVING]
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def untested(names: Mapping[str, Mapping[str, str]], called: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """Labels of names that occur in no test.

    A name of the package occurs where it is imported from windrow or looked up on it: so common a word as print proves
    nothing. A member occurs where a test module that takes its class from windrow (or, for a class that programs get
    otherwise, says the word for it) uses, sets or defines an attribute so called. Syntax has no name to look for.
    """
    taken = {path: taken_from_windrow(text) for path, text in texts.items()}
    used = {path: attributes(text) for path, text in texts.items()}

    def speaks_of(path: str, group: str) -> bool:
        return called[group] in texts[path].lower() if group in called else group in taken[path]

    def occurs(group: str, name: str) -> bool:
        if group in (PACKAGE, ELSEWHERE):
            return any(name in names for names in taken.values())
        return any(name in used[path] and speaks_of(path, group) for path in texts)

    return [
        label for group, name, label in labels_of(names) if names[group][name] != "protocol" and not occurs(group, name)
    ]


def taken_from_windrow(text: str) -> set[str]:
    """Names that a module imports from windrow, or looks up on it, also within the programs that it writes."""
    found = set(re.findall(r"\bwindrow(?:\.\w+)*\.(\w+)", text))
    for names in re.findall(r"\bfrom windrow[\w.]* import (\([^)]*\)|[^\n;#\\'\"]*)", text):
        found.update(re.findall(r"\w+", names))
    return found


def attributes(text: str) -> set[str]:
    """Names that a module uses as attributes, defines as methods, or sets in a class's body."""
    return set(re.findall(r"(?:\.|\bdef )(\w+)", text)) | set(
        re.findall(r"^ +(\w+)(?:: [^=\n]+)? = ", text, re.MULTILINE)
    )


# ---------------------------------------------------------------- at the command line


def later_text(later: Mapping[str, Mapping[str, str]]) -> str:
    """The names that come with other work, and with which."""
    lines: Iterable[str] = (
        line
        for title, names in later.items()
        for line in ["", f"later, {title} ({len(names)})", *(f"  {name}: {wanted}" for name, wanted in names.items())]
    )
    return "\n".join(lines)


def main() -> int:
    arguments = argparse.ArgumentParser(description="What windrow lacks of the interface that Dask users know.")
    arguments.add_argument("--later", action="store_true", help="also print the names that come with later work")
    given = arguments.parse_args()
    listed = load()
    report = compare(listed, texts_of_tests())
    text = report.text()
    if text:
        print(text)
        print()
    print(f"{report.names} names: {len(report.problems)} problems, {len(report.untested)} in no test")
    if given.later:
        print(later_text(listed["later"]))
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main())

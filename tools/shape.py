"""The shape of the code beside its aims: a mirror, not a gate.

    python tools/shape.py [PATH]      # src/windrow unless told otherwise

What lives here: measures by Python's ``ast`` of the sizes of modules, bodies, classes and constructors, of branches,
annotations and docs, and of the purity of the cores. The tests of the core's purity use the lists below.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CORES = [
    *(f"scheduler/{name}.py" for name in ("state", "transitions", "placement", "balance", "core", "invariants")),
    *(f"scheduler/{name}.py" for name in ("attempts", "clients", "dispatch", "news", "requests", "workers")),
    *(f"scheduler/{name}.py" for name in ("copies", "replicas", "memory_manager", "graphs", "services")),
    *(f"scheduler/{name}.py" for name in ("census", "scaling", "fitting", "tally", "notes", "obstacles", "explain")),
    *(f"scheduler/{name}.py" for name in ("following", "overviews", "recording", "watch")),
    *(f"worker/{name}.py" for name in ("state", "core", "store", "incoming", "memory", "recording")),
    "transport/replay.py",
    "roles.py",
    "wire/permissions.py",
]
"""Modules of the two cores, relative to the package. One that is not there (yet) is passed over by this tool."""

BANNED = frozenset(
    {"asyncio", "logging", "os", "psutil", "random", "socket", "subprocess", "threading", "time", "uvloop"}
)
"""What a core may not import."""

BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Shape:
    """What was measured; each list holds (figure, place), largest first after `sort`."""

    modules: list[tuple[int, str]] = field(default_factory=list)
    bodies: list[tuple[int, str]] = field(default_factory=list)
    branches: list[tuple[int, str]] = field(default_factory=list)
    classes: list[tuple[int, str]] = field(default_factory=list)
    constructors: list[tuple[int, str]] = field(default_factory=list)
    unannotated: list[str] = field(default_factory=list)
    undocumented: list[str] = field(default_factory=list)
    uncharted: list[str] = field(default_factory=list)
    impure: list[str] = field(default_factory=list)
    public: int = 0
    core_functions: int = 0
    core_assertions: int = 0

    def sort(self) -> None:
        """Largest first."""
        for measured in (self.modules, self.bodies, self.branches, self.classes, self.constructors):
            measured.sort(reverse=True)


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """What stands in a function, without what stands in functions and classes inside it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))


def branch_score(function: FunctionNode) -> int:
    """One, plus one a branch, loop, handler or further part of a boolean expression; assertions are free."""
    score = 1
    for node in own_nodes(function):
        if isinstance(node, BRANCHES):
            score += 1
        elif isinstance(node, ast.BoolOp):
            score += len(node.values) - 1
    return score


def body_lines(function: FunctionNode) -> int:
    """Lines of a function's body, its docstring not counted."""
    body = function.body
    first = body[1] if ast.get_docstring(function) is not None and len(body) > 1 else body[0]
    return (body[-1].end_lineno or 0) - first.lineno + 1


def parameters(function: FunctionNode) -> list[ast.arg]:
    """Every parameter but self and cls."""
    given = function.args
    extra = [arg for arg in (given.vararg, given.kwarg) if arg is not None]
    return [
        arg for arg in [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra] if arg.arg not in {"self", "cls"}
    ]


def imported_roots(tree: ast.AST) -> set[str]:
    """First names of all modules that are imported anywhere in the file."""
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


def impurities(tree: ast.AST) -> list[str]:
    """Why a module is no part of a core: what it imports, and where it would wait."""
    found = [f"imports {name}" for name in sorted(imported_roots(tree) & BANNED)]
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    return found + [f"waits in line {node.lineno}" for node in ast.walk(tree) if isinstance(node, waits)]


def look_at_function(shape: Shape, function: FunctionNode, place: str) -> None:
    """Take one function into the figures."""
    shape.bodies.append((body_lines(function), place))
    shape.branches.append((branch_score(function), place))
    given = parameters(function)
    if function.returns is None or any(arg.annotation is None for arg in given):
        shape.unannotated.append(place)
    if function.name == "__init__":
        shape.constructors.append((len(given), place))


def look_at_scope(shape: Shape, scope: ast.Module | ast.ClassDef, place: str, *, is_public: bool) -> None:
    """Take the functions and classes of a module or class into the figures."""
    for node in scope.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        where = f"{place}{'.' if isinstance(scope, ast.ClassDef) else ':'}{node.name}"
        named = is_public and not node.name.startswith("_")
        if named:
            shape.public += 1
            if ast.get_docstring(node) is None:
                shape.undocumented.append(where)
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            shape.classes.append((len(methods), where))
            look_at_scope(shape, node, where, is_public=named)
        else:
            look_at_function(shape, node, where)
            for inner in ast.walk(node):
                if inner is not node and isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    look_at_function(shape, inner, f"{where}.{inner.name}")


def measure(package: Path) -> Shape:
    """Measure every module of a package."""
    shape = Shape()
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(package).as_posix()
        tree = ast.parse(text)
        shape.modules.append((text.count("\n"), place))
        if ast.get_docstring(tree) is None:
            shape.uncharted.append(place)
        look_at_scope(shape, tree, place, is_public=True)
        if place in CORES:
            shape.impure += [f"{place}: {why}" for why in impurities(tree)]
            shape.core_functions += sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
            shape.core_assertions += sum(isinstance(node, ast.Assert) for node in ast.walk(tree))
    shape.sort()
    return shape


def show(title: str, aim: str, measured: list[tuple[int, str]], rows: int = 5) -> None:
    """One measure: its largest, with the aim."""
    print(f"\n{title} (aim: {aim})")
    for figure, place in measured[:rows]:
        print(f"  {figure:5}  {place}")


def show_names(title: str, names: list[str], total: int | None = None) -> None:
    """One measure that ought to be empty."""
    of = f" of {total}" if total is not None else ""
    print(f"\n{title}: {len(names)}{of}")
    for name in names[:8]:
        print(f"         {name}")


def main() -> None:
    shape = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src" / "windrow")
    lines = [count for count, _ in shape.modules]
    bodies = [count for count, _ in shape.bodies]
    large = sum(count for count in lines if count > 1_000)
    print(
        f"{len(lines)} modules, {sum(lines):,} lines; median module {statistics.median(lines):.0f} (aim: 150); ", end=""
    )
    print(f"{large / sum(lines):.0%} of lines in modules of over 1,000 (aim: 0%)")
    show("Largest modules, lines", "600", shape.modules)
    show(f"Longest bodies, lines; p90 is {statistics.quantiles(bodies, n=10)[-1]:.0f}", "60, p90 25", shape.bodies)
    show("Branch scores", "15", shape.branches)
    show("Methods of a class", "25; Client has its given surface", shape.classes)
    show("Parameters of a constructor", "8; facades may gather theirs", shape.constructors)
    show_names("Functions without full annotations (aim: 0)", shape.unannotated, len(bodies))
    show_names("Public names without docs (aim: 0)", shape.undocumented, shape.public)
    show_names("Modules without a charter (aim: 0)", shape.uncharted, len(lines))
    show_names("Impurities of the cores (aim: 0)", shape.impure)
    if shape.core_functions:
        print(f"\nAssertions a core function: {shape.core_assertions / shape.core_functions:.2f} (aim: 1)")


if __name__ == "__main__":
    main()

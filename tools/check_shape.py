"""Check the shape of the sources: no circles of imports, no long modules, few long functions.

The largest classes stay as small as they are.

Few places may hide something from ruff or from the type checker: `noqa`, `cast`.

A circle is one of modules, whether they import each other at run time, late or only for type
checkers. The lines of a function are its own: without decorators, docstring and the functions
within it.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "dama"

MEDIAN, P90, LONGEST = 120, 280, 400  # lines of a module
LONG, TOO_LONG, MOST_LONG = 35, 60, 5  # lines of a function, and how many may be long
# Classes that hold much, and how much: what is assigned to `self` when one of them is made.
FIELDS = {"Broker": 15, "Gateway": 15, "Worker": 15}
# What hides something from ruff or from the type checker, and how many a thousand lines may have.
HIDING = {"noqa": (re.compile(r"# noqa\b"), 2.0), "cast(": (re.compile(r"\bcast\("), 1.5)}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def circles() -> Iterator[list[str]]:
    """Find circles of imports, one after the other: each is cut before the next is looked for."""
    graph = grimp.build_graph("dama")
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    while True:
        try:
            TopologicalSorter(imports).prepare()
        except CycleError as error:
            ring: list[str] = error.args[1]
            imports[ring[1]] = imports[ring[1]] - {ring[0]}
            yield ring
        else:
            return


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give the functions of a module with their own lines."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.name, _own_lines(node)


def _own_lines(function: Function) -> int:
    lines = _span(function)
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= _span(first)
    return lines - sum(_span(node) for node in _outermost(function))


def _outermost(function: Function) -> Iterator[Function]:
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function):
            yield node
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def fields(class_: ast.ClassDef) -> set[str]:
    """The names that the constructor of a class assigns to `self`."""
    return {
        node.attr
        for function in class_.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def large_classes(tree: ast.Module) -> Iterator[str]:
    """Say which of the classes that hold much have too many fields, or a method that is too long.

    The lines of a method count with its arguments and its docstring here.
    """
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in FIELDS:
            count = len(fields(node))
            if count > FIELDS[node.name]:
                yield f"{node.name} has {count} fields: {FIELDS[node.name]} at most"
            for method in node.body:
                if isinstance(method, Function) and _span(method) > LONG:
                    yield f"{node.name}.{method.name} has {_span(method)} lines: {LONG} at most"


def problems() -> Iterator[str]:
    """Give what is wrong, a line each; print what was counted."""
    texts = {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}
    sizes = {name: len(text.splitlines()) for name, text in texts.items()}
    lengths = sorted(sizes.values())
    median, p90 = statistics.median(lengths), lengths[int(len(lengths) * 0.9)]
    long = [
        (lines, f"{name}: {function}")
        for name, text in texts.items()
        for function, lines in functions(ast.parse(text))
        if lines > LONG
    ]
    rings = list(circles())
    print(
        f"  {len(rings)} circles; {len(sizes)} modules, median {median:g} lines, p90 {p90}, "
        f"longest {lengths[-1]}; {len(long)} functions over {LONG} lines"
    )
    for name, (pattern, most) in HIDING.items():
        count = sum(len(pattern.findall(text)) for text in texts.values())
        print(f"  {count} times {name}, {1000 * count / sum(lengths):.2f} in 1,000 lines")
        if 1000 * count > most * sum(lengths):
            yield f"{count} times {name}: at most {most} in 1,000 lines; remove the cause"
    yield from (f"a circle of imports: {' imports '.join(reversed(ring))}" for ring in rings)
    if median > MEDIAN or p90 > P90:
        yield f"the modules have {median:g} lines (median), {p90} (p90): {MEDIAN}, {P90} at most"
    for text in texts.values():
        yield from large_classes(ast.parse(text))
    for name, lines in sizes.items():
        if lines > LONGEST:
            yield f"{name} has {lines} lines: {LONGEST} at most"
    if len(long) > MOST_LONG or any(lines > TOO_LONG for lines, _ in long):
        told = ", ".join(f"{name} ({lines})" for lines, name in sorted(long, reverse=True))
        yield f"long functions: {told}; at most {MOST_LONG}, and none over {TOO_LONG} lines"


if __name__ == "__main__":
    found = list(problems())
    for problem in found:
        print(f"  {problem}", file=sys.stderr)
    sys.exit(1 if found else 0)

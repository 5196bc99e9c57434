"""Print the longest modules and functions, and the longest parameter lists, of the core and the plugins.

    python benchmarks/structure.py [--most 10] [FOLDER ...]

`tests/test_structure.py` holds them to limits.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("harness", "plugins/models/src", "plugins/modern/src", "plugins/tasks/src")


@dataclass(frozen=True)
class Function:
    """A function or method, without `self` and `cls` among its parameters."""

    place: str
    lines: int
    parameters: int


def modules(folders: tuple[str, ...] = FOLDERS) -> dict[Path, ast.Module]:
    """Return the syntax tree of every module, by its path from the root."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in paths}


def functions(path: Path, tree: ast.Module) -> Iterator[Function]:
    """Yield every function of a module, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in arguments)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(f"{path}:{node.lineno} {node.name}", lines, count)


def module_lines(path: Path) -> int:
    """Return the number of lines of a module."""
    return len((ROOT / path).read_text().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=FOLDERS, metavar="FOLDER")
    parser.add_argument("--most", type=int, default=10, help="rows per list")
    arguments = parser.parse_args()
    trees = modules(tuple(arguments.folders))
    every = [function for path, tree in trees.items() for function in functions(path, tree)]
    print(f"{len(trees)} modules, {sum(map(module_lines, trees))} lines, {len(every)} functions")
    print("\nlongest modules (lines)")
    for path in sorted(trees, key=module_lines, reverse=True)[: arguments.most]:
        print(f"  {module_lines(path):5}  {path}")
    print("\nlongest functions (lines)")
    for function in sorted(every, key=lambda function: function.lines, reverse=True)[: arguments.most]:
        print(f"  {function.lines:5}  {function.place}")
    print("\nmost parameters")
    for function in sorted(every, key=lambda function: function.parameters, reverse=True)[: arguments.most]:
        print(f"  {function.parameters:5}  {function.place}")


if __name__ == "__main__":
    main()

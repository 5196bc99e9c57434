"""Starter packages for authors of models and tasks, written from the templates in this folder."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from string import Template
from typing import Literal

from harness.errors import ScaffoldError

Kind = Literal["model", "task"]

SUFFIX = ".template"
"""Suffix of template files, so that tools for Python do not read them."""
NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
LONGEST_NAME = 40
RESERVED = {"seqharness", "test", "tests", *sys.stdlib_module_names}
"""Import names that would hide another module."""


def write_package(kind: Kind, name: str, parent: Path) -> Path:
    """Write a package `parent/name` that registers a model or a task with this name, and return its folder.

    Raises ScaffoldError if the name is not valid, the folder exists, or it cannot be written.
    """
    module = _module_of(name)
    folder = parent / name
    if folder.exists():
        raise ScaffoldError(f"{folder} already exists; remove it, choose another name, or give --folder")
    values = {
        "name": name,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "seqharness": ".".join(version("seqharness").split(".")[:2]),
    }
    texts = {folder / Template(str(path)).substitute(values): text for path, text in _templates(kind)}
    for path, text in texts.items():
        _write(path, Template(text).substitute(values))
    return folder


def _module_of(name: str) -> str:
    """Return the import name of a package; raise ScaffoldError if its name is not valid."""
    if re.fullmatch(NAME, name) is None or len(name) > LONGEST_NAME:
        rule = f"starts with a letter and has only a-z, 0-9 and single '-', at most {LONGEST_NAME} characters"
        valid = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        hint = f"; did you mean {valid!r}?" if valid != name and re.fullmatch(NAME, valid[:LONGEST_NAME]) else ""
        raise ScaffoldError(f"{name!r} is not a valid name: a name {rule}{hint}")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or keyword.issoftkeyword(module) or module in RESERVED:
        raise ScaffoldError(f"{name!r} is not a valid name: {module!r} is reserved; try 'my-{name}'")
    if find_spec(module) is not None:
        raise ScaffoldError(f"{name!r} is not a valid name: a module {module!r} is installed; try 'my-{name}'")
    return module


def _templates(kind: Kind) -> Iterator[tuple[PurePosixPath, str]]:
    """Yield path and text of every file of a kind; the path is relative to the package, and a template itself."""
    return _below(files(__name__) / "templates" / kind, PurePosixPath())


def _below(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _below(entry, path / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield path / entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScaffoldError(f"{path} cannot be written ({error.strerror}); give another --folder") from error

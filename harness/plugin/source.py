"""Digests of the source from which models, tasks and samplers come."""

from __future__ import annotations

import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from harness.errors import PluginError


@lru_cache
def source_digest(kind: type | types.FunctionType) -> str:
    """Return the SHA-256 of the Python files of the package that a class or function comes from, in hex.

    It changes with the source even if the version of the package stays, as in an editable installation.  A class of a
    notebook has no file: the digest is of the source of the class, and of what its module defines and the class uses.
    Raises PluginError if that source is not known, as in an interactive Python.
    """
    module = sys.modules.get(kind.__module__.partition(".")[0])
    name = getattr(module, "__file__", None)
    if name is None:
        is_package = module is not None and module.__name__ != "__main__"
        return "" if is_package else _digest_of_definitions(kind)  # a namespace package has no file of its own
    file = Path(name)
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(file.parent).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _digest_of_definitions(kind: type | types.FunctionType) -> str:
    digest = hashlib.sha256()
    for definition in _reachable(kind):
        digest.update(_text_of(definition).encode())
    return digest.hexdigest()


def _text_of(definition: type | types.FunctionType) -> str:
    """Return the source of a function, or the attributes of a class without its functions."""
    if isinstance(definition, type):
        bases = [base.__qualname__ for base in definition.__bases__]
        plain = {
            name: value for name, value in vars(definition).items() if isinstance(value, str | int | float | tuple)
        }
        fields = getattr(definition, "model_fields", {})
        shown = {name: repr(field) for name, field in fields.items()}
        return repr((definition.__qualname__, bases, sorted(plain.items(), key=str), sorted(shown.items())))
    try:
        return inspect.getsource(definition)
    except (OSError, TypeError) as error:
        raise PluginError(
            f"{definition.__qualname__}: its source is not known, so results could not be told apart from those of "
            "other code; define the class in a notebook, a script or a package"
        ) from error


def _reachable(kind: type | types.FunctionType) -> list[type | types.FunctionType]:
    """Return a class and its functions, or a function, and what their code names of their module."""
    definitions: dict[int, type | types.FunctionType] = {}
    waiting: list[type | types.FunctionType] = [kind]
    while waiting:
        definition = waiting.pop()
        if id(definition) in definitions or definition.__module__ != kind.__module__:
            continue
        definitions[id(definition)] = definition
        if isinstance(definition, type):
            waiting += [*definition.__bases__, *_functions(definition)]
        else:
            known = definition.__globals__
            named = (known.get(name) for name in sorted(_names(definition.__code__)))
            waiting += [value for value in named if isinstance(value, type | types.FunctionType)]
    return sorted(definitions.values(), key=lambda definition: definition.__qualname__)


def _functions(kind: type) -> Iterator[types.FunctionType]:
    """Yield the functions of a class, also those in properties, class methods and static methods."""
    for value in vars(kind).values():
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(inner, types.FunctionType):
            yield inner


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function's code uses, those of functions inside it included."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*(_names(each) for each in inner))

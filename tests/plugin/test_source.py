"""Digests of classes that a notebook defines: they have no file."""

from __future__ import annotations

import linecache
import sys
import types

import pytest

from harness.errors import PluginError
from harness.plugin.source import source_digest

CELL = """
import torch

SCALE = 1

def helper(x):
    return x + {number}

def unused(x):
    return x

class Base:
    def forward(self, x):
        return helper(x)

class Net(Base):
    width = {width}

    @property
    def doubled(self):
        return [each for each in range(self.width)]
"""


def digest_of_cell(monkeypatch: pytest.MonkeyPatch, source: str, *, known: bool = True) -> str:
    """Return the digest of `Net` after a cell with this source was run as a notebook runs it."""
    file = f"/tmp/ipykernel_1/{abs(hash(source))}.py"
    if known:
        monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(source, file, "exec"), main.__dict__)
    source_digest.cache_clear()
    return source_digest(main.Net)


def test_digest_follows_what_the_class_uses_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = CELL.format(number=1, width=2)
    digest = digest_of_cell(monkeypatch, plain)
    assert digest_of_cell(monkeypatch, plain) == digest, "the same cell run again"
    assert digest_of_cell(monkeypatch, plain.replace("return x\n", "return x * 7\n")) == digest, "what it does not use"
    assert digest_of_cell(monkeypatch, CELL.format(number=2, width=2)) != digest, "a function that a base uses"
    assert digest_of_cell(monkeypatch, CELL.format(number=1, width=3)) != digest, "an attribute"
    assert digest_of_cell(monkeypatch, plain.replace("range(self.width)", "range(9)")) != digest, "a property"


def test_class_whose_source_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match=r"its source is not known.*define the class in a notebook"):
        digest_of_cell(monkeypatch, CELL.format(number=1, width=2), known=False)

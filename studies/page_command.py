"""The command line of a script that writes a page of docs/results from the studies that are stored there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry


def command(description: str | None, write_page: Callable[[Registry, Path], Path]) -> int:
    """Write a page, print its path, and return the exit code: 2 if a study cannot be read."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="docs/results")
    given = parser.parse_args()
    try:
        print(write_page(load_plugins().registry, given.folder))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    return 0

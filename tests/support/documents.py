"""The documents of the repository, which the tests of a wheel do not have."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Folder of the repository."""


def code_blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a Markdown file in this language.  document: path below `ROOT`."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)

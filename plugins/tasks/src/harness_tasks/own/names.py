"""Names of columns in options and in messages."""

from __future__ import annotations

import re

NAMES = re.compile(r'\s*("(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)')
"""One name in a list: quoted, or up to the next comma."""


def listed(text: str) -> tuple[str, ...]:
    """Split a list of names at its commas; a name that contains one is quoted, as in a CSV file: `"RH, %",wind`."""
    names = (match[1] for match in NAMES.finditer(text))
    return tuple(_unquoted(name) for name in names if name)


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name.startswith('"') and name.endswith('"')
    return name[1:-1].replace('""', '"') if quoted else name


def as_list(name: str) -> str:
    """Spell one name so that `listed` reads it, in quotation marks for a message: `drop = 'wind'`."""
    plain = listed(name) == (name,)
    return repr(name if plain else '"' + name.replace('"', '""') + '"')


def shown(name: str) -> str:
    """Return a name for a message of one line, escaped if it has characters that cannot be printed."""
    return name if name.isprintable() and name.strip() == name != "" else repr(name)


def all_shown(names: tuple[str, ...]) -> str:
    return ", ".join(map(shown, names))

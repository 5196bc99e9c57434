"""Every error the harness raises on purpose.

HarnessError                a user's mistake or a state only the user can mend; printed as one line, exit code 2
├── StudyError              a study file or a value given on the command line
├── UnknownNameError        a model, task or study that is not there; says what is close
├── PluginError             a plugin that cannot be loaded or breaks its contract
├── SpaceError              a parameter outside its search space
├── BudgetError             a parameter budget that no width can meet
├── DataError               a data file that is missing, corrupt or not what a task expects
├── LedgerError             a study's folder that cannot be written, read or continued
│   └── LeaseError          another process is running the study
├── CheckpointError         a checkpoint that is corrupt or of another trial
├── ScaffoldError           a package that cannot be written under this name or in this place
├── ClusterError            Ray cannot be reached or cannot hold the study
└── TrackingError           the MLflow store cannot be reached or lacks what was asked for
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import FrameType

LONGEST_SHOWN = 60
"""Characters of a faulty value that a message repeats."""
LIBRARIES = frozenset({"harness", "torch", "numpy", "optuna", *sys.stdlib_module_names})
"""Packages whose stack frames do not help the author of a plugin."""

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "model_type": "a table",
    "multiple_of": "a multiple of {multiple_of:g}",
    "string_too_long": "a string of at most {max_length} characters",
    "string_too_short": "a string of at least {min_length} characters",
    "string_type": "a string",
    "too_short": "a list with an entry or more",
    "tuple_type": "a list",
}
"""pydantic's kinds of fault → what belongs there, in the words of someone who writes TOML."""


class HarnessError(Exception):
    """An error for the user: where, what was given, and what to do, in one line."""


class StudyError(HarnessError):
    pass


class UnknownNameError(HarnessError):
    pass


class PluginError(HarnessError):
    pass


class SpaceError(HarnessError):
    pass


class BudgetError(HarnessError):
    pass


class DataError(HarnessError):
    pass


class LedgerError(HarnessError):
    pass


class LeaseError(LedgerError):
    pass


class CheckpointError(HarnessError):
    pass


class ScaffoldError(HarnessError):
    pass


class ClusterError(HarnessError):
    pass


class TrackingError(HarnessError):
    pass


def cause(error: BaseException) -> str:
    """Return a foreign error and where it was raised, in one line."""
    where = raised_in(error)
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0] if first else ''}{f' ({where})' if where else ''}"


def raised_in(error: BaseException) -> str:
    """Return the file and line of an error in the author's code, not in PyTorch or the harness.

    Returns the innermost line if none is the author's, and '' for an error that was never raised.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    theirs = [(frame, line) for frame, line in frames if _package(frame) not in LIBRARIES]
    if not frames:
        return ""
    frame, line = (theirs or frames)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ' did you mean 'tcn'?' if a known name is close, else ''."""
    close = get_close_matches(given, sorted(known), n=1)
    return f" did you mean {close[0]!r}?" if close else ""


def fault_text(where: str, given: object, *, kind: str, message: str, limits: Mapping[str, object]) -> str:
    """A fault that pydantic found, for a reader who does not know the types behind a file.

    kind, message, limits: its `type`, `msg` and `ctx`.
    """
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        return f"{where!r}: {text}" if where else text
    if kind not in _EXPECTED:
        return f"{where!r}: {message}, got {shown(given)}"
    expected = _EXPECTED[kind].format(**limits)
    hint = did_you_mean(str(given), expected.split("'")[1::2])
    return f"{where!r} must be {expected}, got {shown(given)}{hint and ';' + hint}"


def shown(value: object) -> str:
    """Return a value as TOML writes it, shortened if it is long."""
    if isinstance(value, dict | list | tuple):
        kind = "table" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"

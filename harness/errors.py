"""The errors that the harness raises on purpose, and helpers for their messages.

HarnessError                a usage error or a state that only the user can fix; printed as one line, exit code 2
├── StudyError              a study file or a command-line value is invalid
├── UnknownNameError        a model, task or study does not exist; suggests a similar name
├── PluginError             a plugin cannot be loaded or breaks its contract
├── SpaceError              a parameter is unknown, missing or out of range
├── BudgetError             no width meets the parameter budget
├── DataError               a data file is missing, corrupt or not what a task expects
├── LedgerError             the folder of a study cannot be written, read or resumed
│   └── LeaseError          another process is running the study
├── CheckpointError         a checkpoint is corrupt or belongs to another trial
├── ScaffoldError           a package cannot be written under this name or in this folder
├── ClusterError            Ray is unreachable, has ended, or lacks the resources for the study
└── TrackingError           MLflow is unreachable or lacks the requested experiment or run
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import FrameType

from harness.redaction import without_secrets

LONGEST_SHOWN = 60
"""Characters of an invalid value that a message shows."""
LIBRARIES = frozenset({"harness", "torch", "numpy", "optuna", *sys.stdlib_module_names})
"""Packages whose source lines do not help the author of a plugin."""

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
    "too_short": "a list with at least one entry",
    "tuple_type": "a list",
}
"""Mapping from pydantic's error types to the expected value, in terms of TOML."""


class HarnessError(Exception):
    """A message in one line: where, what was given, and what to do; without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class StudyError(HarnessError):
    """A study file or a command-line value is invalid."""


class UnknownNameError(HarnessError):
    """A model, task or study does not exist."""


class PluginError(HarnessError):
    """A plugin cannot be loaded or breaks its contract."""


class SpaceError(HarnessError):
    """A parameter is unknown, missing or out of range."""


class BudgetError(HarnessError):
    """No width meets the parameter budget."""


class DataError(HarnessError):
    """A data file is missing, corrupt or not what a task expects."""


class LedgerError(HarnessError):
    """The folder of a study cannot be written, read or resumed."""


class LeaseError(LedgerError):
    """Another process is running the study."""


class CheckpointError(HarnessError):
    """A checkpoint is corrupt or belongs to another trial."""


class ScaffoldError(HarnessError):
    """A package cannot be written under this name or in this folder."""


class ClusterError(HarnessError):
    """Ray is unreachable, has ended, or lacks the resources for the study."""


class TrackingError(HarnessError):
    """MLflow is unreachable or lacks the requested experiment or run."""


class UserInterrupt(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during training; a plain KeyboardInterrupt there is a plugin's."""


def is_of_plugin(error: BaseException) -> bool:
    """Return whether the code of a trial raised an exception itself.

    Otherwise the user, Ray or Python ends the process.
    """
    if isinstance(error, SystemExit):
        frames = list(traceback.walk_tb(error.__traceback__))
        return not frames or _package(frames[-1][0]) != "ray"  # its handler of SIGTERM raises inside any code
    return not isinstance(error, UserInterrupt | GeneratorExit)


def cause(error: BaseException) -> str:
    """Return type, first line and source line of a third-party exception, in one line and without secrets."""
    where = raised_in(error)
    first = str(error).strip().splitlines()[:1]
    return without_secrets(f"{type(error).__name__}: {first[0] if first else ''}{f' ({where})' if where else ''}")


def raised_in(error: BaseException) -> str:
    """Return file and line of an exception, as `file.py:12`.

    This is the last line of the plugin author's code, even if the exception was raised deeper in PyTorch or in the
    harness.  If no line is the author's, it is the last line of all; for an error that was never raised it is "".
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    by_author = [(frame, line) for frame, line in frames if _package(frame) not in LIBRARIES]
    frame, line = (by_author or frames)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def packages_in(error: BaseException) -> set[str]:
    """Return the packages through whose code an exception passed."""
    return {_package(frame) for frame, _ in traceback.walk_tb(error.__traceback__)}


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ` did you mean 'tcn'?` if a known name is similar to the given one, else ""."""
    close = get_close_matches(given, sorted(known), n=1)
    return f" did you mean {close[0]!r}?" if close else ""


def fault_text(where: str, given: object, *, kind: str, message: str, limits: Mapping[str, object]) -> str:
    """Return a message for a validation error of pydantic, for a reader who does not know the types behind a file.

    where: the key.  given: its value.  kind, message, limits: `type`, `msg` and `ctx` of pydantic's error.
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
    """Return a value as TOML writes it, cut after `LONGEST_SHOWN` characters; of a table or list only its kind."""
    if isinstance(value, dict | list | tuple):
        kind = "table" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"

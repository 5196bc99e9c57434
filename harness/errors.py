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
├── ClusterError            Ray cannot be reached or cannot hold the study
└── TrackingError           the MLflow store cannot be reached or lacks what was asked for
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HarnessError(Exception):
    """Where, what was given, and a way out, in one line."""


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


class ClusterError(HarnessError):
    pass


class TrackingError(HarnessError):
    pass


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """' did you mean 'tcn'?' where something known is close, else ''."""
    close = get_close_matches(given, sorted(known), n=1)
    return f" did you mean {close[0]!r}?" if close else ""

"""The log of a study: standard `logging`, and a file in the study's folder."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from harness.errors import HarnessError
from harness.redaction import without_secrets

LOG = "study.log"
MOST_BYTES = 5_000_000
"""Size at which the file is renamed to `study.log.1`, which replaces the one before."""

logger = logging.getLogger("harness")
"""INFO: trials that ended, and what a run says.  DEBUG: also trials that began, and their evaluations."""


@contextlib.contextmanager
def logged(folder: Path, *, hold: bool = False) -> Iterator[LogFile]:
    """Write what is logged in this context to the log file of the study in `folder`.

    The file is created at the first record.  An error before it is a refusal: it is not logged, and the folder stays as
    it was.  The level is that of the logger `harness`, or INFO if it has none.  hold: whether records wait for
    `LogFile.write_held`, because a refusal may follow them.
    """
    handler = LogFile(folder / LOG, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.held = [] if hold else None
    handler.setFormatter(_LineFormatter())
    level = logger.level
    logger.setLevel(level or logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler
    except HarnessError as error:
        if handler.begun:
            logger.error("%s", error)
        raise
    except Exception:
        handler.write_held()  # this is no refusal
        if handler.begun:
            logger.exception("the run ended with an error")
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class LogFile(RotatingFileHandler):
    """A log file that never stops a study."""

    held: list[logging.LogRecord] | None = None
    """Records that wait for `write_held`; None if they are written at once."""

    @property
    def begun(self) -> bool:
        """Whether it holds a record of this run."""
        return self.stream is not None

    def emit(self, record: logging.LogRecord) -> None:
        if self.held is None:
            super().emit(record)
        else:
            self.held.append(record)

    def write_held(self) -> None:
        """Write the records that wait, and from now on each at once."""
        records, self.held = self.held or [], None
        for record in records:
            self.handle(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name that `logging` calls
        """Do nothing: the ledger, which is in the same folder, reports a full disk or a folder that is gone."""


class _LineFormatter(logging.Formatter):
    """Time in UTC, level and message, without secrets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))

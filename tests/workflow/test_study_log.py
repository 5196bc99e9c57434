"""The log file of a study: what it holds, what it never holds, and what it cannot stop."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import StudyError
from harness.workflow.study_log import LOG, logged, logger

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) "


@pytest.fixture(autouse=True)
def _default_level() -> Iterator[None]:
    level = logger.level
    yield
    logger.setLevel(level)


def run_that_raises(folder: Path, error: Exception) -> None:
    """Log one record, then raise."""
    with logged(folder):
        logger.info("begun")
        raise error


def lines(folder: Path) -> list[str]:
    """Return the messages of the log file, without their times."""
    return [re.sub("^" + LINE, r"\1 ", line) for line in (folder / LOG).read_text().splitlines()]


def test_every_line_has_time_and_level_and_debug_is_left_out_by_default(tmp_path: Path) -> None:
    with logged(tmp_path):
        logger.debug("a point")
        logger.info("a trial of %d", 3)
        logging.getLogger("harness.other").warning("from a module")
    assert lines(tmp_path) == ["INFO a trial of 3", "WARNING from a module"]
    assert all(re.match(LINE, line) for line in (tmp_path / LOG).read_text().splitlines())


def test_level_that_the_caller_sets_holds_in_the_file_and_stays(tmp_path: Path) -> None:
    logger.setLevel(logging.DEBUG)
    with logged(tmp_path):
        logger.debug("a point")
    assert lines(tmp_path) == ["DEBUG a point"]
    assert logger.level == logging.DEBUG


def test_a_second_run_appends_and_nothing_is_logged_in_between(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with logged(tmp_path):
            logger.info(text)
        logger.warning("outside")
    assert lines(tmp_path) == ["INFO first", "INFO second"]


def test_a_run_that_logs_nothing_leaves_no_file(tmp_path: Path) -> None:
    with logged(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_refused_run_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(StudyError), logged(tmp_path):
        raise StudyError("s.toml: was started with other settings; use --fresh")
    assert not list(tmp_path.iterdir())


def test_errors_of_a_started_run_are_logged_and_raised(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        run_that_raises(tmp_path, StudyError("s.toml: no models; name one"))
    with pytest.raises(ZeroDivisionError):
        run_that_raises(tmp_path, ZeroDivisionError("division by zero"))
    text = (tmp_path / LOG).read_text()
    assert "ERROR s.toml: no models; name one" in text
    assert text.splitlines()[-1] == "ZeroDivisionError: division by zero"  # with its traceback, which no user sees


def test_secrets_do_not_reach_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdef123456")
    with logged(tmp_path):
        logger.info("MLflow %s", "postgresql://me:hunter22@host/db")
        logger.warning("refused abcdef123456")
    with pytest.raises(RuntimeError):
        run_that_raises(tmp_path, RuntimeError("who is abcdef123456?"))
    text = (tmp_path / LOG).read_text()
    assert "hunter22" not in text
    assert "abcdef123456" not in text
    assert "host/db" in text
    assert text.splitlines()[-1] == "RuntimeError: who is ***?"


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path / "missing"):
        logger.info("lost")
    assert capsys.readouterr().err == ""


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.workflow.study_log.MOST_BYTES", 2000)
    with logged(tmp_path):
        for number in range(1000):
            logger.info("trial %d", number)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {LOG, f"{LOG}.1"}
    assert max(sizes.values()) <= 2000
    assert lines(tmp_path)[-1] == "INFO trial 999"

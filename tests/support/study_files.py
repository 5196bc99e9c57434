"""Study files and their faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import StudyError
from harness.study.file import read_study_file
from harness.study.schema import Study

STUDY = """\
name = "s"
models = ["tcn", { name = "gru", as = "wide" }]
[[tasks]]
name = "copy-memory"
length = 100
"""
TASK = """\
name = "s"
models = ["tcn"]
[[tasks]]
name = "copy-memory"
"""
JARGON = ("Input should", "Tuple", "literal[", "constrained", "valid dictionary", "instance of", "bool'", "Value error")


def fault_of(file: Path, text: str, *overrides: str) -> str:
    """Return the message of a study file with a fault, without the path."""
    file.write_text(text)
    with pytest.raises(StudyError, match=r"^[^\n]+$") as caught:
        read_study_file(file, overrides)
    message = str(caught.value)
    assert not [word for word in JARGON if word in message]
    return message.removeprefix(f"{file}: ")


def read_text(file: Path, text: str, *overrides: str) -> Study:
    """Write a study file and read it with these overrides."""
    file.write_text(text)
    return read_study_file(file, overrides)

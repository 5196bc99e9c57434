"""The conformance kit on every task; those whose data files are not here are skipped."""

from __future__ import annotations

from typing import Any

from harness.testing import BoundCheck, parametrize_checks
from harness_tasks import TASKS, Adding, CopyMemory, PtbWord

SMALL = (
    Adding(length=20, sequences=200, validation=50, test=1000),
    CopyMemory(length=10, sequences=1000, validation=50, test=1000),
    PtbWord(reading="window"),
)
AS_PUBLISHED = tuple(task() for task in TASKS if task not in (Adding, CopyMemory))
REPEATED = "the text repeats itself: passages of 128 tokens stand in two of its official splits"
SHARED = {
    "nottingham": {"check_splits_disjoint": "a tune of the official validation split is in the training split too"},
    "ptb-char": {"check_splits_disjoint": REPEATED},
    "ptb-word": {"check_splits_disjoint": REPEATED},
    "ptb-word-reading-window": {"check_splits_disjoint": REPEATED},
}


@parametrize_checks(*SMALL, *AS_PUBLISHED, expected_failed_checks=SHARED)
def test_contract(check: BoundCheck[Any]) -> None:
    check()

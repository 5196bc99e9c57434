"""Messages on cells that cannot be resumed."""

from __future__ import annotations

from harness.execution.resumption import OF_A_TRIAL
from harness.records import Cell, Trial
from tests.support.cells import trial


def test_every_difference_of_two_trials_has_a_name() -> None:
    """Fields without a name do not alter a trial's digest, so no refusal is about them."""
    named = [field for fields in OF_A_TRIAL.values() for field in fields]
    given = trial(Cell(task="copy", model="tcn"), "search", 0)
    others = Trial.model_fields.keys() - {*named, "embedding_parameters"}  # which follow from `widths`
    assert len(named) + len(others) == len(Trial.model_fields) - 1
    assert all(given.model_copy(update={field: "changed"}).digest == given.digest for field in others)

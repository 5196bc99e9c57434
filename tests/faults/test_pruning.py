"""A pruned study whose driver is killed."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.faults.place import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HALVING = """
[search]
pruning = { kind = "successive-halving", reduction = 3, minimum_updates = 4 }
"""
MOMENTS = {"in the first rung": 13, "between two rungs": 26, "in the last rung": 42}
"""Number of the event at which the driver is killed.  In the first rung each of eight trials is started, reports once
and pauses; then six are pruned one after another, and two train on."""


@pytest.mark.fault("kill -9 of the driver under pruning")
@pytest.mark.parametrize("moment", MOMENTS)
def test_pruned_study_killed_and_resumed_equals_the_undisturbed_study(
    place: Place, landed: Callable[[], None], moment: str
) -> None:
    study = place.write(models='["toy-ema"]', updates=36, evaluations=9, repetitions=1)
    study.write_text(study.read_text() + HALVING)
    expected = place.undisturbed()
    code, _, err = place.run("run", "toys.toml", "--serial", KILL_AT=str(MOMENTS[moment]))
    assert code == -signal.SIGKILL, err
    landed()
    code, _, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    assert place.by_key() == expected
    runs = place.stored()
    assert runs.keys() == expected.keys()
    ended = {entry.trial.key.partition("/")[2]: entry.result for entry in place.entries()}
    pruned = {key for key, result in ended.items() if result is not None and result.outcome == "pruned"}
    assert pruned == {key for key, run in runs.items() if run.info.status == "KILLED"}
    assert {runs[key].data.tags["harness.outcome"] for key in pruned} == {"pruned"}

"""Models that change the process of their worker, and the trials of other models that run there afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.place import Place
from tests.support.toys import MEDDLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRAINS = ['"toy-ema"', '"toy-stack"']
LASTING = "interop-threads"
CODE = "of seqharness-toys 0.3 changes settings of the process in training: "


def meddling(fault: str) -> str:
    return f'{{ name = "toy-ema", as = "{fault}", space = {{ fault = "{fault}" }} }}'


def undisturbed(place: Place) -> dict[str, object]:
    """Return the results of the other models in a study that has no meddling one."""
    place.write(models=f"[{', '.join(TRAINS)}]")
    return place.undisturbed()


def of_others(place: Place) -> dict[str, object]:
    ended = {key: entry for key, entry in ((e.trial.key.partition("/")[2], e) for e in place.entries()) if entry.result}
    results = place.by_key() if len(ended) == len(place.entries()) else {}
    return {key: value for key, value in results.items() if "/toy-" in key}


@pytest.mark.fault("a model that changes settings of the process in training")
@pytest.mark.parametrize("options", [[], ["--serial"]])
def test_model_that_changes_its_process_is_named_and_the_results_of_others_are_unchanged(
    place: Place, landed: Callable[[], None], options: list[str]
) -> None:
    expected = undisturbed(place)
    faults = [fault for fault in MEDDLES if fault != LASTING]
    models = [TRAINS[0], *map(meddling, faults), TRAINS[1]]
    place.write(models=f"[{', '.join(models)}]")
    _, _, err = place.run("run", "toys.toml", *options)
    for fault in faults:
        landed()
        assert f"or model 'toy-ema' {CODE}" in err
        assert any(f"toy-sum/{fault}/" in line and CODE in line for line in err.splitlines()), fault
    assert of_others(place) == expected
    assert "worker failed" not in err


@pytest.mark.fault("a model whose change of the process cannot be undone")
def test_worker_whose_process_cannot_be_restored_is_replaced(place: Place, landed: Callable[[], None]) -> None:
    expected = undisturbed(place)
    place.write(models=f"[{', '.join([meddling(LASTING), *TRAINS])}]")
    code, _, err = place.run("run", "toys.toml")
    landed()
    assert code == 0, err
    lasting = "torch number of interop threads (7); they cannot be restored, so no other trial runs here"
    assert f"{CODE}{lasting}" in err
    assert "worker failed" not in err
    assert of_others(place) == expected
    workers = {entry.result.worker for entry in place.entries() if entry.result and entry.trial.cell.model == LASTING}
    others = {entry.result.worker for entry in place.entries() if entry.result and entry.trial.cell.model != LASTING}
    own = [entry.result.outcome for entry in place.entries() if entry.result and entry.trial.cell.model == LASTING]
    assert own == ["complete"] * len(own)
    assert len(own) > 2
    last = max((e for e in place.entries() if e.result and e.result.worker in workers), key=_started)
    assert last.trial.cell.model == LASTING, "a worker went on after a change that cannot be undone"
    assert others - workers


def _started(entry: object) -> float:
    return float(entry.result.started)  # type: ignore[attr-defined]  # of an ended trial


@pytest.mark.fault("a model whose change of the process cannot be undone")
def test_serial_run_stops_after_such_a_model_and_resumes(place: Place, landed: Callable[[], None]) -> None:
    expected = undisturbed(place)
    place.write(models=f"[{', '.join([meddling(LASTING), *TRAINS])}]")
    code, _, err = place.run("run", "toys.toml", "--serial")
    landed()
    assert code == 2
    assert "they cannot be restored; run the same command again to resume" in err
    runs = 1
    while code == 2:
        code, _, err = place.run("run", "toys.toml", "--serial")
        runs += 1
    assert code == 0, err
    assert runs <= 5, "each trial of the model ends one run"
    assert of_others(place) == expected

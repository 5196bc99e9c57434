"""`harness recommend` survives what `harness run` survives."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.ledger.folder import RACE
from harness.ledger.journal import TrialEntry
from harness.recommendation.result import ANSWER, Recommendation
from harness.training.checkpoint import folder_of
from tests.faults.place import Place, ended, kill_driver, mount_of, resize, trains, wait_until
from tests.support.races import reproducible_part

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POINTS, MODELS, TRIALS, FIRST_ROUND, REPETITIONS = 4, 2, 2, 5, 7
COMMAND = (
    f"recommend toy-sum --budget 161 --models toy-ema,toy-stack --trials {TRIALS} --repetitions {REPETITIONS} "
    f"--name toys --serial updates=40 evaluations={POINTS} batch_size=8 budget.tolerance=0.2 "
    "resources.checkpoint_seconds=0.2"
).split()
EVENTS = 1 + POINTS + 1
"""Events of a trial: started, its points, ended."""
SLOW_TOYS = {"TOY_PAUSE_SECONDS": "0.03"}
"""With it a trial of 40 updates takes at least 1.2 s, and its first checkpoint comes before a sixth of that."""
PREDICT = """
from harness import load_winner

winner = load_winner("runs/toys")
data = winner.task.load("test", winner.trial.seeds, {})
print(float(((winner.outputs(data) - data.targets) ** 2).mean()))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, site: Path, empty_store: Path) -> Iterator[Place]:
    """The same command without faults."""
    undisturbed = Place(tmp_path_factory.mktemp("undisturbed"), site)
    shutil.copy(empty_store, undisturbed.folder / "mlflow.db")
    code, _, err = undisturbed.run(*COMMAND)
    assert code == 0, err
    assert err.count("recommend: ") == 2, "the race was over in another number of rounds"
    yield undisturbed
    undisturbed.end_all()


def recommendation(place: Place, runs: str = "runs") -> Recommendation:
    return Recommendation.model_validate_json((place.folder / runs / "toys" / ANSWER).read_text())


def equals_the_undisturbed_race(place: Place, undisturbed: Place, runs: str = "runs") -> None:
    assert place.by_key(runs=runs) == undisturbed.by_key()
    assert reproducible_part(recommendation(place, runs)) == reproducible_part(recommendation(undisturbed))


def in_the_middle(place: Place, of: Callable[[TrialEntry], bool]) -> bool:
    """Return whether a trial of this kind trains and has written a checkpoint."""
    return any(
        of(entry) and trains(entry) and any(folder_of(place.folder / "runs/toys", entry.trial.key).glob("attempt-*.pt"))
        for entry in place.entries()
    )


def events_of_the_first_round(place: Place) -> int:
    """Return how many events are left in the first round."""
    past = sum(EVENTS if entry.result is not None else len(entry.points) for entry in place.entries())
    return EVENTS * MODELS * (TRIALS + FIRST_ROUND) - past


@pytest.mark.fault("kill -9 of the driver inside a race")
def test_race_killed_in_the_search_between_rounds_and_in_a_round_equals_the_undisturbed_race(
    place: Place, undisturbed: Place, landed: Callable[[], None]
) -> None:
    process = place.start(*COMMAND, **SLOW_TOYS)
    wait_until(lambda: in_the_middle(place, lambda entry: entry.trial.phase == "search"), process)
    kill_driver(process)
    landed()
    code, _, err = place.run(*COMMAND, KILL_AT=str(events_of_the_first_round(place)))
    assert code == -signal.SIGKILL, err
    landed()
    assert sum(entry.trial.phase == "final" for entry in place.entries()) == MODELS * FIRST_ROUND
    assert all(entry.result is not None for entry in place.entries())
    process = place.start(*COMMAND, **SLOW_TOYS)
    wait_until(lambda: in_the_middle(place, lambda entry: (entry.trial.repetition or 0) >= FIRST_ROUND), process)
    kill_driver(process)
    landed()
    assert not (place.folder / "runs/toys" / ANSWER).exists()
    code, out, err = place.run(*COMMAND)
    assert code == 0, err
    assert out.startswith("# toy-sum: ")
    equals_the_undisturbed_race(place, undisturbed)
    assert place.stored().keys() == undisturbed.by_key().keys()
    assert sum(entry.attempt - 1 for entry in place.entries()) == 2
    assert predicted_error(place) == pytest.approx(winners_error(place), rel=1e-5)


def predicted_error(place: Place) -> float:
    """Return the test error of the winner's predictions, loaded in a new process."""
    script = [sys.executable, "-c", PREDICT]
    done = subprocess.run(
        script, cwd=place.folder, env=place.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def winners_error(place: Place) -> float:
    """Return the test error that was measured when the winner was trained."""
    winner = recommendation(place).winner
    assert winner is not None
    (result,) = [entry.result for entry in place.entries() if entry.trial.key == winner.key]
    assert result is not None
    return result.metrics["test"]["mse"]


@pytest.mark.fault("Ctrl-C once inside a race")
def test_race_interrupted_in_the_search_says_so_and_resumes(
    place: Place, undisturbed: Place, landed: Callable[[], None]
) -> None:
    process = place.start(*COMMAND, **SLOW_TOYS)
    wait_until(lambda: in_the_middle(place, lambda entry: entry.trial.phase == "search"), process)
    process.send_signal(signal.SIGINT)
    landed()
    code, out, err = ended(process)
    assert code == 130
    assert out == ""
    assert err.splitlines()[-1] == "harness: interrupted; run the same command again to resume"
    assert not (place.folder / "runs/toys/lease").exists()
    code, _, err = place.run(*COMMAND)
    assert code == 0, err
    equals_the_undisturbed_race(place, undisturbed)


@pytest.mark.fault("the same race started twice at once")
def test_second_race_is_rejected_and_changes_nothing_of_the_first(place: Place, landed: Callable[[], None]) -> None:
    long = [*COMMAND, "updates=4000"]
    process = place.start(*long, **SLOW_TOYS)
    race = place.folder / "runs/toys" / RACE
    wait_until(lambda: any(trains(entry) for entry in place.entries()), process)
    before = race.read_bytes()
    for more in ([], ["--repetitions", "9"], ["--fresh"]):
        code, _, err = place.run(*long, *more)
        landed()
        assert code == 2
        assert f"process {process.pid} on " in err
        assert "is running this study; wait for it or stop it" in err
        assert err.count("\n") == 1, err
    assert race.read_bytes() == before
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130


@pytest.mark.fault("disk full inside a race")
def test_full_disk_ends_a_race_with_one_line_and_the_race_resumes(
    place: Place, undisturbed: Place, landed: Callable[[], None]
) -> None:
    small = place.folder / "small"
    unmount = mount_of("64k", small)
    try:
        code, out, err = place.run(*COMMAND, "--runs", "small")
        landed()
        assert code == 2, err
        assert out == ""
        assert err.splitlines()[-1].startswith("harness: ")
        assert "No space left on device" in err.splitlines()[-1]
        resize(small, "20m")
        code, _, err = place.run(*COMMAND, "--runs", "small")
        assert code == 0, err
        equals_the_undisturbed_race(place, undisturbed, runs="small")
    finally:
        unmount()


@pytest.mark.fault("MLflow is unreachable inside a race")
def test_started_race_resumes_without_mlflow_and_a_new_one_is_rejected(
    place: Place, undisturbed: Place, landed: Callable[[], None]
) -> None:
    nowhere = "http://127.0.0.1:9"
    code, _, err = place.run(*COMMAND, MLFLOW_TRACKING_URI=nowhere)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"harness: {nowhere}: the MLflow store failed")
    assert not (place.folder / "runs/toys").exists(), "a race was begun"
    place.run(*COMMAND, KILL_AT="9")
    code, out, err = place.run(*COMMAND, MLFLOW_TRACKING_URI=nowhere)
    landed()
    assert code == 1, err
    assert out.startswith("# toy-sum: ")
    equals_the_undisturbed_race(place, undisturbed)
    code, _, err = place.run(*COMMAND)
    assert code == 0, err
    assert place.stored().keys() == undisturbed.by_key().keys()

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.place import SLOW_TOYS, Place, ended, kill_driver, trains, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEARCH = 4 * (1 + 4 + 1)
"""Events in the search of two cells with two trials each: started, four points, ended."""
FINALS = SEARCH
MOMENTS = {
    "in the search": (1, SEARCH - 1),
    "between search and final": (SEARCH - 1, SEARCH),
    "in the finals": (SEARCH + 1, SEARCH + FINALS - 1),
    "while reporting": (SEARCH + FINALS, SEARCH + FINALS),
}
"""Numbers of the first and the last event at which the driver may be killed."""


@pytest.mark.fault("kill -9 of the driver")
@pytest.mark.parametrize("moment", MOMENTS)
def test_study_killed_at_random_and_resumed_equals_the_undisturbed_study(
    place: Place, landed: Callable[[], None], moment: str
) -> None:
    """Compares parameters, seeds, curves and scores by key; each trial has one run in MLflow."""
    place.write()
    expected = place.undisturbed()
    event = random.randint(*MOMENTS[moment])
    code, out, _ = place.run("run", "toys.toml", "--serial", KILL_AT=str(event))
    assert code == -signal.SIGKILL, f"event {event}"
    assert "toy-sum" not in out, "the table was printed before the kill"
    landed()
    code, out, err = place.run("run", "toys.toml", "--serial")
    assert code == 0, err
    assert "toy-stack" in out
    assert place.by_key() == expected, f"killed at event {event}"
    assert place.stored().keys() == expected.keys()
    assert sum(entry.attempt - 1 for entry in place.entries()) <= 1


@pytest.mark.fault("kill -9 of the driver")
def test_study_killed_repeatedly_on_ray_equals_the_undisturbed_study(place: Place, landed: Callable[[], None]) -> None:
    place.write(updates=400, evaluations=30)
    expected = place.undisturbed()
    for trials in (0, 3):
        process = place.start("run", "toys.toml", **SLOW_TOYS)

        def in_training(trials: int = trials) -> bool:
            entries = place.entries()
            return sum(entry.result is not None for entry in entries) >= trials and any(map(trains, entries))

        wait_until(in_training, process)
        kill_driver(process)
        landed()
    code, _, err = place.run("run", "toys.toml")
    assert code == 0, err
    assert place.by_key() == expected
    assert place.stored().keys() == expected.keys()
    assert any(entry.attempt > 1 for entry in place.entries())


@pytest.mark.fault("the same study started twice at once")
def test_second_driver_is_rejected_with_the_name_of_the_first(place: Place, landed: Callable[[], None]) -> None:
    place.write(updates=600, evaluations=30)
    first = place.start("run", "toys.toml", "--serial", **SLOW_TOYS)
    wait_until(lambda: any(entry.points for entry in place.entries()), first)
    code, _, err = place.run("run", "toys.toml", "--serial")
    landed()
    assert code == 2
    assert f"process {first.pid} on " in err
    assert "is running this study; wait for it or stop it" in err
    assert err.count("\n") == 1
    first.send_signal(signal.SIGINT)
    code, _, _ = ended(first)
    assert code == 130


@pytest.mark.fault("two studies at once on one store")
def test_two_studies_on_one_store_both_finish_with_one_run_per_trial(place: Place, landed: Callable[[], None]) -> None:
    place.write()
    other = place.write("other.toml")
    other.write_text(other.read_text().replace('name = "toys"', 'name = "other"', 1))
    expected = place.undisturbed()
    both = [place.start("run", name, "--serial") for name in ("toys.toml", "other.toml")]
    landed()
    for process in both:
        code, _, err = ended(process)
        assert code == 0, err
    for name in ("toys", "other"):
        assert place.by_key(name) == expected
        assert place.stored(name=name).keys() == expected.keys()


@pytest.mark.fault("Ctrl-C once")
def test_interrupt_writes_checkpoints_and_ends_the_command_within_seconds(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(updates=1200, evaluations=40, checkpoint_seconds=600)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", **SLOW_TOYS)
    wait_until(lambda: sum(trains(entry) for entry in place.entries()) == 2, process)
    at = time.monotonic()
    process.send_signal(signal.SIGINT)
    landed()
    code, _, err = ended(process)
    seconds = time.monotonic() - at
    assert code == 130
    assert "interrupted; run the same command again to resume" in err
    assert list((place.folder / "runs/toys").rglob("attempt-*.pt")), "no worker wrote a checkpoint"
    assert seconds < 60, f"{seconds:.0f} s"
    code, _, err = place.run("run", "toys.toml")
    assert code == 0, err
    assert place.by_key() == expected


@pytest.mark.fault("Ctrl-C twice")
def test_second_interrupt_ends_the_command_at_once_and_the_study_can_be_resumed(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(updates=1200, evaluations=40)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", **SLOW_TOYS)
    wait_until(lambda: any(trains(entry) for entry in place.entries()), process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    landed()
    code, _, _ = ended(process)
    assert code in (130, -signal.SIGINT)  # the second where the interrupt arrives while Python ends
    code, _, err = place.run("run", "toys.toml")
    assert code == 0, err
    assert place.by_key() == expected

"""The description of a cell's run says what its metrics say."""

from __future__ import annotations

from harness.tracking.sync import Tracker
from tests.support.tracked import FakeLedger, stored_runs

DESCRIPTION = "mlflow.note.content"


def test_description_has_the_numbers_of_the_run_and_says_how_to_read_it(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)["s1/copy/tcn"]
    text, metrics = run.data.tags[DESCRIPTION], run.data.metrics
    bounds = f"{metrics['interval_low']:.4g} to {metrics['interval_high']:.4g}"
    assert f"| test | mean 0.02, 95 % interval {bounds} |" in text
    assert "| best validation score of the search | 0.5 |" in text
    assert "| search trials | 2 of 2 |" in text
    assert "| repetitions | 2 of 2 |" in text
    assert text.startswith("**copy/tcn**: loss in nats, lower is better.")
    curve = next(name for name in metrics if "curve" in name)
    assert f"`{curve}`" in text


def test_a_cell_without_scores_is_described_with_gaps(ledger: FakeLedger, uri: str) -> None:
    ledger.trials = ledger.trials[:1]
    Tracker(ledger, uri).sync()
    text = stored_runs(uri)["s1/copy/tcn"].data.tags[DESCRIPTION]
    assert "| test | – |" in text
    assert "| repetitions | 0 of 2 |" in text

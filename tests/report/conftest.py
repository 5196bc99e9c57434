from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.cell_result import Curves
from harness.report.report import Report, build_report
from tests.support.cells import (
    ACCURACY,
    LOSS,
    cell_of,
    facts,
    stored,
)


@pytest.fixture(scope="module")
def report() -> Report:
    """Two tasks, two models, curves for one task."""
    metrics = {"copy": LOSS, "digits": ACCURACY}
    cells = [facts(model, metric, task=task) for task, metric in metrics.items() for model in ("tcn", "gru")]
    scores = ([0.01, 0.04], [0.1, 0.4], [90.0, 92.0], [80.0, 82.0])
    entries = [entry for cell, values in zip(cells, scores, strict=True) for entry in cell_of(cell, values)]
    finals = [entry.trial.key for entry in entries if entry.trial.phase == "final" and entry.trial.cell.task == "copy"]
    curves: Curves = {key: {"loss": ((1, 2.0), (2, 1.0)), "gradient_norm": ((1, 0.5), (2, 5.0))} for key in finals}
    return build_report(replace(stored(cells, entries), curves=curves))

"""The view of a study in MLflow's UI: its cells by task, with the columns that compare them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from harness.tracking import run_data

SHARED_VIEW = "cells"
"""Name of the view, which the UI finds in a tag of the experiment."""
METRICS = ("mean", "interval_low", "interval_high", "success_rate")
PARAMETERS = ("metric.name", "metric.unit", "metric.better")

_FILTER = {
    "searchFilter": f"tags.`{run_data.KIND}` = 'cell'",
    "orderByKey": f"tags.`{run_data.TASK}`",
    "orderByAsc": True,
}
_TAG = f"mlflow.sharedViewState.{SHARED_VIEW}"
_WORKFLOW = {"workflowType": "machine_learning"}
"""Without it, the UI opens the mode that the browser used last."""


def view_tags() -> dict[str, str]:
    """Return the tags of an experiment with which MLflow's UI shows trainings and the columns of the view."""
    columns = [f"metrics.`{name}`" for name in METRICS] + [f"params.`{name}`" for name in PARAMETERS]
    view = {**_FILTER, "startTime": "ALL", "lifecycleFilter": "Active", "selectedColumns": columns}
    # The kind says that an experiment holds trainings, not traces of language models.
    return {"mlflow.experimentKind": "custom_model_development", _TAG: json.dumps(view)}


def view_query(tags: Mapping[str, str]) -> str:
    """Return the query of a link to the view.

    tags: of the experiment.  A study of an earlier version lacks the view, so its link has filter and order alone.
    """
    if _TAG in tags:
        return urlencode({**_WORKFLOW, "viewStateShareKey": SHARED_VIEW})
    return urlencode({**_WORKFLOW, **_FILTER, "orderByAsc": "true"})

"""Trained models in MLflow: loaded with `mlflow.pyfunc.load_model`, served with `mlflow models serve`."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

with warnings.catch_warnings(action="ignore"):  # MLflow warns of its own type hints
    import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from harness.errors import TrackingError, cause
from harness.records import Cell
from harness.tracking import run_data
from harness.tracking.client import find_experiment, mlflow_client, study_runs
from harness.tracking.store_errors import as_tracking_error

CODE = Path(__file__).with_name("served_model.py")
"""The code of every model; MLflow runs a copy."""
MODEL = "harness.model_digest"
"""Tag of a cell's run: digest of the weights that its model in MLflow has."""


@dataclass(frozen=True)
class ServedModel:
    """A trained model as it is stored in MLflow."""

    cell: Cell
    digest: str
    """Of the weights."""
    folder: Path
    """Folder that `Winner.save` wrote."""
    example: Any
    """Some input: a DataFrame, or an array of sequences."""
    output: Any
    """The predictions for it."""
    description: str
    """Of the model's page, as Markdown."""
    params: dict[str, str]
    """Its configuration, as the page lists it."""
    requirements: tuple[str, ...]
    """Distributions with versions, as pip takes them."""


def models_in(uri: str, study: str, study_id: str) -> dict[str, str]:
    """Return cell → digest of the weights of its model in MLflow; cells without a model are missing."""
    with as_tracking_error(uri):
        client = mlflow_client(uri)
        runs = study_runs(client, find_experiment(client, uri, study), study_id)
        tags = {key: run.data.tags for key, run in runs.items()}
        return {key.partition("/")[2]: tagged[MODEL] for key, tagged in tags.items() if MODEL in tagged}


def log_model(uri: str, study: str, study_id: str, model: ServedModel) -> None:
    """Store a model with its cell's run, with signature, input example and requirements.

    Raises TrackingError if the store fails, or cannot hold the example.
    """
    with as_tracking_error(uri), _tracking_uri(uri), _quiet():
        client = mlflow_client(uri)
        experiment = find_experiment(client, uri, study)
        run = study_runs(client, experiment, study_id)[f"{study_id}/{model.cell}"]
        # Created here, since `Model.log` would create it in the experiment `Default`.
        name = f"{model.cell.task}-{model.cell.model}"
        logged = client.create_logged_model(experiment, name, run.info.run_id, params=model.params)
        try:
            Model.log(
                artifact_path=None,
                flavor=mlflow.pyfunc,
                run_id=run.info.run_id,
                model_id=logged.model_id,
                step=_last_step(client, run.info.run_id),  # of the run's metrics that the model gets
                python_model=str(CODE),
                artifacts={"winner": str(model.folder)},
                signature=_signature(model),
                input_example=model.example,
                pip_requirements=list(model.requirements),
            )
        except (TypeError, ValueError, ArithmeticError) as error:  # of values of the user's data
            client.delete_logged_model(logged.model_id)
            raise TrackingError(f"MLflow cannot hold its input example ({cause(error)})") from error
        tags = {run_data.KIND: "model", run_data.STUDY_ID: study_id}
        tags[run_data.DESCRIPTION] = run_data.cut(model.description, run_data.TAG_LIMIT)
        client.set_logged_model_tags(logged.model_id, tags)
        client.set_tag(run.info.run_id, MODEL, model.digest)


def _last_step(client: MlflowClient, run_id: str) -> int:
    """Return the step of the last summary of a cell's repetitions; 0 if there is none."""
    return max((point.step for point in client.get_metric_history(run_id, "mean")), default=0)


def _signature(model: ServedModel) -> ModelSignature:
    """Return the columns or shapes of input and output; arrays may have any number of sequences and of steps.

    Columns may have any type: the task reads them as it reads a file, and MLflow would reject whole numbers in place of
    others, and dates in place of their text.
    """
    if not isinstance(model.example, np.ndarray):
        any_type = AnyType()  # type: ignore[no-untyped-call]
        columns = Schema([ColSpec(any_type, name) for name in model.example.columns])
        return ModelSignature(columns, infer_signature(model.output).inputs)
    shapes = [(-1, -1, *model.example.shape[2:]), (-1, *([-1] * (model.output.ndim - 2)), model.output.shape[-1])]
    arrays = (model.example, model.output)
    inputs, outputs = (Schema([TensorSpec(a.dtype, shape)]) for a, shape in zip(arrays, shapes, strict=True))
    return ModelSignature(inputs, outputs)


@contextlib.contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """Set the tracking URI of MLflow's module for a while: there is no other way to tell it where a model goes."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from printing hints on how models are written."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)

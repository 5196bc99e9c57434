"""Trained models in MLflow: loaded and served, they predict what the winner predicts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

import harness

pytest.importorskip("harness_models", reason="a served model loads the installed plugins")
pytest.importorskip("harness_tasks", reason="a served model loads the installed plugins")

from harness_tasks import OwnArrays

STEPS = 8


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Forty machines, whose wear is the sum of their load so far."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame({"machine": np.repeat(np.arange(40), STEPS), "load": rng.normal(size=40 * STEPS)})
    made["wear"] = made.groupby("machine")["load"].cumsum()
    return made


@pytest.fixture(scope="module")
def results(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Results]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        frame.to_csv("wear.csv", index=False)
        frame[["load"]].to_csv("load.csv", index=False)
        study = harness.Study(
            "wear",
            ["gru", "tcn"],
            [
                {"name": "arrays", "as": "wear", "data": "wear.csv", "target": "wear", "sequence": "machine",
                 "parameters": 300},
                {"name": "arrays", "as": "ahead", "data": "load.csv", "horizon": 1, "parameters": 300},
                {"name": "adding", "length": 10, "sequences": 64, "parameters": 300},
            ],
            budget={"trials": 1, "repetitions": 2, "tolerance": 0.2},
            training={"updates": 5, "batch_size": 8, "evaluations": 1},
        )  # fmt: skip
        yield harness.run(study, executor="serial", progress=False)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # MLflow's default


def model_of(results: harness.Results, cell: str) -> str:
    """Return the URI of the model of a cell."""
    assert results.folder is not None
    mlflow.set_tracking_uri(f"sqlite:///{results.folder.parents[1]}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("wear")
    assert experiment is not None
    models = mlflow.search_logged_models(experiment_ids=[experiment.experiment_id], output_format="list")
    assert len(models) == 6, "one per cell"
    (model,) = [model for model in models if model.name == cell]
    return f"models:/{model.model_id}"


def test_loaded_model_predicts_what_the_winner_predicts(results: harness.Results, frame: pd.DataFrame) -> None:
    rows = frame.drop(columns="wear").tail(3 * STEPS)
    loaded = mlflow.pyfunc.load_model(model_of(results, "wear-gru"))
    expected = results.winner("wear", "gru").predict(rows)
    pd.testing.assert_frame_equal(loaded.predict(rows), expected)
    assert loaded.metadata.signature.inputs.input_names() == ["machine", "load"]


def test_model_of_a_forecast_takes_the_past_of_its_target(results: harness.Results, frame: pd.DataFrame) -> None:
    loaded = mlflow.pyfunc.load_model(model_of(results, "ahead-gru"))
    assert loaded.metadata.signature.inputs.input_names() == ["load"]
    expected = results.winner("ahead", "gru").predict(frame[["load"]])
    pd.testing.assert_frame_equal(loaded.predict(frame[["load"]]), expected)


def test_model_takes_numbers_of_every_type(results: harness.Results) -> None:
    rows = pd.DataFrame({"machine": [1.0] * STEPS, "load": range(STEPS)})  # the training file has int and float
    loaded = mlflow.pyfunc.load_model(model_of(results, "wear-gru"))
    pd.testing.assert_frame_equal(loaded.predict(rows), results.winner("wear", "gru").predict(rows))


def test_model_of_a_task_without_rows_takes_sequences(results: harness.Results) -> None:
    loaded = mlflow.pyfunc.load_model(model_of(results, "adding-length-10-sequences-64-tcn"))
    winner = results.winner("adding-length-10-sequences-64", "tcn")
    inputs = np.random.default_rng(1).random((3, 12, 2), dtype=np.float32)
    with torch.inference_mode():
        expected = winner.network.last(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(loaded.predict(inputs), expected, rtol=1e-5)


def test_nothing_in_a_model_is_a_pickle_of_objects(results: harness.Results) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(model_of(results, "wear-gru")))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib"))]
    assert {"MLmodel", "served_model.py", "artifacts/winner/winner.json", "artifacts/winner/weights.pt"} <= set(files)
    weights = folder / "artifacts" / "winner" / "weights.pt"
    assert zipfile.is_zipfile(weights)
    _, _, body = weights.read_bytes().partition(b"\n")  # one line of JSON, then what `torch.save` wrote
    loaded = torch.load(BytesIO(body), weights_only=True)
    trained = results.winner("wear", "gru").network.state_dict()
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())
    assert not [name for name in files if _is_pickle(folder / name)]
    requirements = (folder / "requirements.txt").read_text()
    assert all(f"{name}==" in requirements for name in ("seqharness", "seqharness-models", "torch", "mlflow"))


def _is_pickle(path: Path) -> bool:
    """Return whether a file begins like a pickle of protocol 2 or later, whatever its name."""
    return path.read_bytes()[:1] == b"\x80"


def test_page_of_a_model_has_its_numbers_and_its_configuration(results: harness.Results) -> None:
    model = mlflow.MlflowClient().get_logged_model(model_of(results, "wear-gru").removeprefix("models:/"))
    winner = results.winner("wear", "gru")
    text = model.tags["mlflow.note.content"]
    assert text.startswith("**wear/gru**: rmse")
    assert f"repetition {winner.trial.repetition}, the best on validation" in text
    means = results.comparison.set_index(["task", "model"])["test_mean"]
    assert f"| test | mean {means['wear', 'gru']:.4g}" in text
    numbers = {metric.key: metric.value for metric in model.metrics or ()}
    assert numbers["mean"] == pytest.approx(means["wear", "gru"])
    assert numbers["repetitions_done"] == 2
    assert numbers["outcomes/complete"] == 3
    assert model.params == {name: str(value) for name, value in winner.get_params().items()}


def test_models_are_sent_once(results: harness.Results) -> None:
    from harness.workflow.models import send_models

    before = model_of(results, "wear-gru")
    assert send_models(results, mlflow.get_tracking_uri()) == []
    assert model_of(results, "wear-gru") == before


def test_task_whose_example_cannot_be_read_is_one_line_and_the_others_are_sent(
    results: harness.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.workflow import models

    def broken(task: OwnArrays, count: int) -> pd.DataFrame:
        raise ValueError("no rows\ntoday")

    sent: list[str] = []
    monkeypatch.setattr(models, "models_in", lambda *_: {})
    monkeypatch.setattr(models, "log_model", lambda *given: sent.append(str(given[-1].cell)))
    monkeypatch.setattr(OwnArrays, "example_rows", broken)
    problems = models.send_models(results, mlflow.get_tracking_uri())
    assert len(problems) == 4
    assert problems[0].startswith("wear/gru: its model is not in MLflow: wear/gru: seqharness-")
    assert "raised ValueError: no rows" in problems[0]
    assert "\n" not in "".join(problems)
    assert sent == ["adding-length-10-sequences-64/gru", "adding-length-10-sequences-64/tcn"]


def test_example_that_mlflow_cannot_hold_is_one_line(results: harness.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.models import Model

    from harness.workflow import models

    def refuse(**_: object) -> None:
        raise TypeError("Object of type Decimal is not JSON serializable")

    monkeypatch.setattr(models, "models_in", lambda *_: {})
    monkeypatch.setattr(Model, "log", refuse)
    problems = models.send_models(results, mlflow.get_tracking_uri())
    assert len(problems) == 6
    assert "its model is not in MLflow: MLflow cannot hold its input example (TypeError: Object of type" in problems[0]


def test_data_sets_and_description_are_with_the_runs(results: harness.Results) -> None:
    model_of(results, "wear-gru")
    experiment = mlflow.get_experiment_by_name("wear")
    assert experiment is not None
    assert "| gru |" in experiment.tags["mlflow.note.content"]
    cells = mlflow.MlflowClient().search_runs([experiment.experiment_id], "tags.`harness.kind` = 'cell'")
    for cell in cells:
        assert cell.inputs is not None
        assert cell.outputs is not None
        contexts = [part.tags[0].value for part in cell.inputs.dataset_inputs]
        assert contexts == ["training", "validation", "test"]
        assert len(cell.outputs.model_outputs) == 1
    digests = {cell.inputs.dataset_inputs[0].dataset.digest for cell in cells if cell.inputs is not None}
    assert len(digests) == 3, "one per task"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_served_model_answers_over_http(results: harness.Results, frame: pd.DataFrame) -> None:
    uri = model_of(results, "wear-gru")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-p", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        rows = frame.drop(columns="wear").head(2 * STEPS)
        body = json.dumps({"dataframe_split": rows.to_dict(orient="split")}).encode()
        answer = _post(f"http://127.0.0.1:{port}/invocations", body)
        expected = results.winner("wear", "gru").predict(rows)
        pd.testing.assert_frame_equal(pd.DataFrame(answer["predictions"]), expected, check_dtype=False)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _post(url: str, body: bytes) -> dict[str, list[dict[str, float]]]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(240):
        try:
            with urllib.request.urlopen(request) as response:
                answer: dict[str, list[dict[str, float]]] = json.load(response)
                return answer
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise AssertionError(error.read().decode()) from error
            time.sleep(0.5)
    raise AssertionError("the server did not answer")

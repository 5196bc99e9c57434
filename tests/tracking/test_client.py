"""Connections to MLflow, its errors and its UI."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from mlflow import MlflowClient

from harness.errors import TrackingError
from harness.tracking.client import prepare_store, store_uri, study_pages, ui_command
from harness.tracking.reader import read_store
from harness.tracking.sqlite_file import database_file
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    STUDY,
    FakeLedger,
)


def test_store_uri_is_that_of_the_environment_or_a_database_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert store_uri(tmp_path) == "http://127.0.0.1:5000"


@pytest.mark.parametrize("name", ["what?now=1", "my%20study", "a#b c"])
def test_store_is_in_its_folder_whatever_the_name_of_the_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name
    folder.mkdir()
    uri = store_uri(folder)
    prepare_store(uri)
    assert database_file(uri) == folder / "mlflow.db"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "mlflow.db").stat().st_size > 0


def test_prepare_store_creates_a_database_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare_store(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert (tmp_path / "new" / "mlflow.db").stat().st_size > 0
    assert capfd.readouterr() == ("", "")


def test_prepare_store_rejects_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database " * 100)
    with pytest.raises(TrackingError, match=r"mlflow\.db: the MLflow store failed \(.*not a database\)") as caught:
        prepare_store(f"sqlite:///{path}")
    assert "\n" not in str(caught.value)


def test_error_about_a_store_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:9: the MLflow store failed") as caught:
        prepare_store("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["s3cr3t", "s3@cr3t", "s3/cr3t", "s3:cr3t", "s3%40cr3t", "s3?cr3t", "s3#cr3t"])
@pytest.mark.parametrize(
    "address",
    [
        "http://jane:{}@127.0.0.1:9",
        "http://127.0.0.1:9/?user=jane&token={}",
        "postgresql://jane:{}@127.0.0.1:9/db",
        "mysql+pymysql://jane:{}@127.0.0.1:9/db",
        "postgresql://127.0.0.1:9/db?user=jane&password={}",
        "mssql+pyodbc:///?odbc_connect=UID%3Djane%3BPWD%3D{}",
        "unknown://jane:{}@127.0.0.1:9",
    ],
)
def test_error_about_a_store_shows_no_part_of_its_credentials(
    address: str, password: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as caught:
        prepare_store(address.format(password))
    shown = str(caught.value) + "".join(capfd.readouterr())
    assert not [part for part in ("s3", "cr3t", "jane") if part in shown], shown
    assert "\n" not in str(caught.value)


def test_ui_command_listens_on_loopback_only(uri: str) -> None:
    command, variables = ui_command(uri, 5001)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {"--host": "127.0.0.1", "--port": "5001", "--workers": "1"}
    assert variables == {"MLFLOW_BACKEND_STORE_URI": uri}


def test_ui_command_refers_to_a_server_that_has_a_ui() -> None:
    with pytest.raises(TrackingError, match=r"http://mlflow\.example is a server .*open this address"):
        ui_command("http://mlflow.example", 5001)


def test_link_to_a_study_opens_the_view_for_model_training_with_its_cells(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    experiment = MlflowClient(uri).get_experiment_by_name(STUDY)
    assert experiment is not None
    page, _, query = study_pages(uri, "http://here")[STUDY].partition("?")
    assert page == f"http://here/#/experiments/{experiment.experiment_id}/runs"
    link = dict(parse_qsl(query))
    assert link["workflowType"] == "machine_learning"
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{link['viewStateShareKey']}"])
    (cell,) = MlflowClient(uri).search_runs([experiment.experiment_id], view["searchFilter"])
    assert cell.data.tags["harness.task"] in cell.info.run_name
    columns = [column.removesuffix("`").split(".`") for column in view["selectedColumns"]]
    assert len(columns) > 4
    names = {"metrics": list(cell.data.metrics), "params": list(cell.data.params)}
    assert [name for kind, name in columns if name not in names[kind]] == []


def test_link_to_a_study_of_an_earlier_version_filters(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    client.delete_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.cells")
    view = dict(parse_qsl(study_pages(uri, "http://here")[STUDY].partition("?")[2]))
    assert view.pop("workflowType") == "machine_learning"
    assert len(client.search_runs([experiment.experiment_id], view["searchFilter"])) == 1
    assert set(view) == {"searchFilter", "orderByKey", "orderByAsc"}
    assert view["orderByAsc"] == "true"


def test_experiment_has_the_kind_whose_runs_the_ui_shows(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    experiment = MlflowClient(uri).get_experiment_by_name(STUDY)
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.usefixtures("impatient")
def test_server_that_does_not_answer_is_a_short_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = r"failed \(no answer within 1 s; to wait longer, set MLFLOW_HTTP_REQUEST_TIMEOUT\); repair it"
        with pytest.raises(TrackingError, match=message):
            read_store(f"http://127.0.0.1:{silent.getsockname()[1]}", STUDY)


def test_store_may_be_given_as_a_file_uri_of_sqlite(tmp_path: Path) -> None:
    uri = f"sqlite:///file:{tmp_path}/a%20store.db?uri=true"
    prepare_store(uri)
    assert [path.name for path in tmp_path.iterdir()] == ["a store.db"]
    assert study_pages(uri, "http://here") == {}
    for place in ("file:memory?mode=memory&uri=true", ":memory:", ""):
        assert database_file(f"sqlite:///{place}") in (None, Path("memory"))


def test_reading_a_store_that_does_not_exist_creates_no_file(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(
        TrackingError, match=r"mlflow\.db: no such MLflow store; run a study here, or set MLFLOW_TRACKING_URI"
    ):
        read_store(uri, STUDY)
    with pytest.raises(TrackingError, match="no such MLflow store"):
        study_pages(uri, "http://here")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_missing_server_is_a_short_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TrackingError, match=r"failed \(MLflow is unreachable: nothing listens at this address,"):
        read_store(f"http://127.0.0.1:{port}", STUDY)


def test_deleted_experiment_is_an_error_that_says_how_to_restore_it(ledger: FakeLedger, uri: str) -> None:
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(STUDY))
    with pytest.raises(TrackingError, match="'copying' was deleted; restore it with `mlflow experiments restore -x "):
        Tracker(ledger, uri).sync()

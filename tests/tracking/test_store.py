"""Runs written to an MLflow store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.tracking import run_data
from harness.tracking.run_data import RunData, Sample
from harness.tracking.store import METRICS_PER_BATCH, PARAMS_PER_BATCH, TAGS_PER_BATCH, Store
from tests.support.tracked import CREATED, TCN, artifact, count_writes, facts, manifest, stored_runs


@pytest.fixture
def store(uri: str) -> Store:
    """A store with a single run, `k`."""
    store = Store(uri, manifest(facts(TCN)))
    store.open("k", "trial", "a trial", start=CREATED)
    return store


def test_key_has_one_run_however_often_it_is_opened(store: Store, uri: str) -> None:
    store.open("k", "trial", "a trial", start=CREATED + 1)
    Store(uri, manifest(facts(TCN))).open("k", "trial", "a trial", start=CREATED + 2)
    assert {key: run.info.start_time for key, run in stored_runs(uri).items()} == {"k": 1000 * CREATED}


def test_run_is_written_only_if_its_position_or_status_changes(
    store: Store, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions: list[dict[str, str]] = []

    def missing(position: Mapping[str, str]) -> RunData:
        positions.append(dict(position))
        return RunData(tags={"color": "red"})

    first, second = {run_data.POINTS: "1"}, {run_data.POINTS: "2"}
    store.upsert("k", first, missing, status="RUNNING")
    writes = count_writes(monkeypatch)
    store.upsert("k", first, missing, status="RUNNING")
    assert writes == []
    store.upsert("k", first, missing, status="FINISHED", end=CREATED + 5)
    assert writes == ["log_batch", "set_terminated"]
    store.upsert("k", second, missing)
    assert positions == [{}, first, first]
    run = stored_runs(uri)["k"]
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1000 * (CREATED + 5))
    assert (run.data.tags[run_data.POINTS], run.data.tags["color"]) == ("2", "red")


def test_contents_are_sent_in_batches_and_the_position_in_the_last(
    store: Store, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = RunData(
        metrics=tuple(Sample("loss", float(step), 0, step) for step in range(2 * METRICS_PER_BATCH + 1)),
        params={f"p{number}": "1" for number in range(PARAMS_PER_BATCH + 1)},
        tags={f"t{number}": "1" for number in range(TAGS_PER_BATCH + 1)},
    )
    with monkeypatch.context() as patch:
        writes = count_writes(patch, fail_at=2)
        with pytest.raises(ConnectionError):
            store.upsert("k", {run_data.CONTENT: "x"}, lambda _: data)
    assert writes == ["log_batch"] * 3
    broken = stored_runs(uri)["k"].data
    assert run_data.CONTENT not in broken.tags
    assert (broken.metrics["loss"], len(broken.params)) == (2 * METRICS_PER_BATCH - 1, PARAMS_PER_BATCH + 1)
    store.upsert("k", {run_data.CONTENT: "x"}, lambda _: data)
    whole = stored_runs(uri)["k"].data
    assert whole.tags[run_data.CONTENT] == "x"
    assert whole.metrics["loss"] == 2 * METRICS_PER_BATCH
    assert sum(name.startswith("t") for name in whole.tags) == TAGS_PER_BATCH + 1


def test_files_are_stored_in_a_folder_of_the_artifacts(store: Store, uri: str, tmp_path: Path) -> None:
    store.log_file("k", "report", "page.md", "größe")
    store.log_file("k", "report", "page.bin", b"\x00\xff")
    assert artifact(uri, "k", "report/page.md", tmp_path / "got") == "größe".encode()
    assert artifact(uri, "k", "report/page.bin", tmp_path / "got") == b"\x00\xff"

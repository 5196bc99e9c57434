from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import CheckpointError
from harness.training.checkpoint import attempt_path, load, newest, save

TRIAL = "a" * 64


def state_of(update: int = 3) -> dict[str, Any]:
    weight = torch.arange(6, dtype=torch.float64).reshape(2, 3) / 7
    return {
        "update": update,
        "seconds": 0.1 + 0.2,
        "weights": {"w": weight, "view": weight[0]},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "random": {"cpu": torch.Generator().manual_seed(5).get_state()},
        "best": {},
        "best_update": None,
        "last": [{"w": weight}, {"w": -weight}],
        "points": [{"metrics": {"ä": float("inf")}, "time": 1.5e9}],
        "nan": torch.tensor([float("nan"), -0.0]),
        "empty": torch.zeros(0, 4),
        "flags": torch.tensor([True, False]),
    }


def equal(first: Any, second: Any) -> bool:
    """Equality of trees by bits."""
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and first.dtype == second.dtype and first.shape == second.shape
        return same and first.numpy().tobytes() == second.numpy().tobytes()
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and bool(first == second)


def test_a_nested_state_reads_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "attempt-0001.pt"
    sha256 = save(path, state_of(), trial=TRIAL)
    assert equal(load(path, trial=TRIAL), state_of())
    assert sha256 == hashlib.sha256(path.read_bytes().partition(b"\n")[2]).hexdigest()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_state_shares_nothing_with_what_was_saved(tmp_path: Path) -> None:
    state = state_of()
    save(tmp_path / "x.pt", state, trial=TRIAL)
    state["weights"]["w"].zero_()
    assert equal(load(tmp_path / "x.pt"), state_of())


SMALL = {"w": torch.arange(3.0), "n": 1}


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(place=0.0, flip=1)
def test_damage_of_any_byte_is_never_read_as_another_state(tmp_path: Path, place: float, flip: int) -> None:
    path = tmp_path / "x.pt"
    save(path, SMALL, trial=TRIAL)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= flip
    path.write_bytes(content)
    in_header = int(place * len(content)) < content.find(b"PK")
    if in_header:  # where white space may change unseen
        with contextlib.suppress(CheckpointError):
            assert equal(load(path, trial=TRIAL), SMALL)
    else:
        with pytest.raises(CheckpointError, match=r"x\.pt: is damaged"):
            load(path, trial=TRIAL)


@given(place=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path, place: float) -> None:
    path = tmp_path / "x.pt"
    save(path, SMALL, trial=TRIAL)
    content = path.read_bytes()
    path.write_bytes(content[: int(place * len(content))])
    with pytest.raises(CheckpointError, match=r"x\.pt: is (damaged|no checkpoint)"):
        load(path, trial=TRIAL)


def test_another_trials_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save(path, SMALL, trial="b" * 64)
    with pytest.raises(CheckpointError, match="belongs to another trial"):
        load(path, trial=TRIAL)
    assert equal(load(path), SMALL)


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def write_body(path: Path, body: bytes) -> None:
    """A file whose digests are right, as a stranger who knows the format would write it."""
    header = {"sha256": hashlib.sha256(body).hexdigest(), "trial": TRIAL}
    path.write_bytes(json.dumps(header).encode() + b"\n" + body)


@pytest.mark.parametrize("plain", [False, True], ids=["torch.save", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    witness = tmp_path / "witness"
    buffer = io.BytesIO()
    if plain:
        pickle.dump(Malicious(witness), buffer, protocol=2)
    else:
        torch.save({"w": Malicious(witness)}, buffer)
    write_body(tmp_path / "attempt-0001.pt", buffer.getvalue())
    with pytest.raises(CheckpointError, match="is no checkpoint") as caught:
        load(tmp_path / "attempt-0001.pt", trial=TRIAL)
    assert "\n" not in str(caught.value)
    assert newest(tmp_path, trial=TRIAL)[0] is None
    assert not witness.exists()


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"PK\x03\x04" + b"\0" * 40], ids=["nothing", "garbage", "half a zip"]
)
def test_checkpoint_whose_body_is_not_a_state_is_refused(tmp_path: Path, body: bytes) -> None:
    write_body(tmp_path / "x.pt", body)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load(tmp_path / "x.pt", trial=TRIAL)


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"1", b'"x"', b"null", b"\xff", b'{"sha256": 1}'])
def test_checkpoint_without_a_valid_header_is_refused(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(header + b"\nbody")
    with pytest.raises(CheckpointError, match=r"x\.pt: is (damaged|no checkpoint)"):
        load(tmp_path / "x.pt", trial=TRIAL)


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file or directory\)"):
        load(tmp_path / "x.pt")


def test_the_newest_attempt_counts(tmp_path: Path) -> None:
    for attempt in (1, 10, 2):
        save(attempt_path(tmp_path, attempt), {"attempt": attempt}, trial=TRIAL)
    assert newest(tmp_path, trial=TRIAL) == ({"attempt": 10}, [])


def test_a_damaged_attempt_falls_back_to_an_older_one_and_says_so(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        save(attempt_path(tmp_path, attempt), {"attempt": attempt}, trial=TRIAL)
    attempt_path(tmp_path, 3).write_bytes(b"torn")
    save(attempt_path(tmp_path, 2), {"attempt": 2}, trial="b" * 64)
    state, passed = newest(tmp_path, trial=TRIAL)
    assert state == {"attempt": 1}
    assert [text.partition(": ")[0] for text in passed] == [str(attempt_path(tmp_path, n)) for n in (3, 2)]
    assert "is no checkpoint" in passed[0]
    assert "belongs to another trial" in passed[1]


def test_temporary_files_and_others_are_never_taken_for_checkpoints(tmp_path: Path) -> None:
    whole = attempt_path(tmp_path, 1)
    save(whole, {"attempt": 1}, trial=TRIAL)
    whole.rename(tmp_path / f"attempt-0002.pt.{os.getpid()}.writing")
    save(tmp_path / "weights.pt", {"w": 1}, trial=TRIAL)
    assert newest(tmp_path, trial=TRIAL) == (None, [])


def test_missing_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert newest(tmp_path / "gone", trial=TRIAL) == (None, [])


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    path = attempt_path(tmp_path, 1)
    save(path, {"attempt": 1}, trial=TRIAL)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # EFBIG past 2000 bytes of a file, setrlimit(2)
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written \(File too large\)"):
            save(path, {"w": torch.zeros(10_000)}, trial=TRIAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load(path) == {"attempt": 1}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "file" / "attempt-0001.pt", SMALL, trial=TRIAL)

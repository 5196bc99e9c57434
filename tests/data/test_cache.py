"""The cache of parsed arrays: written once, complete or absent, and in memory once for all processes."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.cache import Array, parsed_arrays
from harness.data.files import CACHE
from harness.errors import DataError

ARRAYS: dict[str, Array] = {
    "labels": np.arange(5, dtype=np.int64),
    "pixels": np.arange(12, dtype=np.uint8).reshape(3, 4),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "parsed"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"one")
    return path


def never() -> Iterator[tuple[str, Array]]:
    raise AssertionError("parsed again")


def test_arrays_are_returned_as_parsed(source: Path) -> None:
    arrays = parsed_arrays("numbers", [source], ARRAYS.items, version=1)
    assert sorted(arrays) == ["labels", "pixels"]
    for name, array in arrays.items():
        assert isinstance(array, np.memmap)
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_the_same_content_is_parsed_once_whatever_its_path(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.write_bytes(source.read_bytes())
    parsed_arrays("numbers", [source], ARRAYS.items, version=1)
    again = parsed_arrays("numbers", [copy], never, version=1)
    np.testing.assert_array_equal(again["pixels"], ARRAYS["pixels"])


@pytest.mark.parametrize(
    ("name", "contents", "version"),
    [
        ("others", (b"a", b"bc"), 1),
        ("numbers", (b"a", b"bC"), 1),
        ("numbers", (b"bc", b"a"), 1),
        ("numbers", (b"ab", b"c"), 1),
        ("numbers", (b"a",), 1),
        ("numbers", (b"a", b"bc"), 2),
    ],
)
def test_other_name_content_order_or_version_is_another_set(
    tmp_path: Path, name: str, contents: tuple[bytes, ...], version: int
) -> None:
    def write(parts: tuple[bytes, ...]) -> list[Path]:
        paths = [tmp_path / str(number) for number in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            path.write_bytes(part)
        return paths

    first: dict[str, Array] = {"x": np.zeros(1)}
    other: dict[str, Array] = {"x": np.ones(1)}
    parsed_arrays("numbers", write((b"a", b"bc")), first.items, version=1)
    assert parsed_arrays(name, write(contents), other.items, version=version)["x"][0] == 1
    assert parsed_arrays("numbers", write((b"a", b"bc")), never, version=1)["x"][0] == 0


def test_a_write_does_not_reach_the_cache(source: Path) -> None:
    mine = parsed_arrays("numbers", [source], ARRAYS.items, version=1)["pixels"]
    mine[0] = 99
    assert mine[0, 0] == 99
    np.testing.assert_array_equal(parsed_arrays("numbers", [source], never, version=1)["pixels"], ARRAYS["pixels"])


def test_tensor_on_a_parsed_array_shares_its_memory_without_a_warning(source: Path) -> None:
    array = parsed_arrays("numbers", [source], ARRAYS.items, version=1)["pixels"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(array)
    assert tensor.data_ptr() == array.ctypes.data


def test_a_failed_parse_leaves_nothing_and_can_be_repeated(source: Path, cache: Path) -> None:
    def fail() -> Iterator[tuple[str, Array]]:
        yield "pixels", ARRAYS["pixels"]
        raise DataError("no labels in it")

    with pytest.raises(DataError, match=r"^no labels in it$"):
        parsed_arrays("numbers", [source], fail, version=1)
    assert list(cache.iterdir()) == []
    assert sorted(parsed_arrays("numbers", [source], ARRAYS.items, version=1)) == ["labels", "pixels"]


def test_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data file .*/nowhere cannot be read \(No such file or directory\)$"):
        parsed_arrays("numbers", [tmp_path / "nowhere"], never, version=1)


def test_cache_that_cannot_be_written_is_an_error_with_advice(source: Path, cache: Path) -> None:
    cache.parent.write_text("a file where the folder belongs")
    with pytest.raises(DataError, match=r"cannot be written to .*/cache/parsed/.* or set HARNESS_CACHE to another"):
        parsed_arrays("numbers", [source], ARRAYS.items, version=1)


def cut(content: bytes) -> bytes:
    return content[:-1]


def empty(content: bytes) -> bytes:
    return b""


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def open_bracket(content: bytes) -> bytes:
    """The header of an array with a shape that is not Python any more."""
    return content.replace(b"), }", b"(, }", 1)


@pytest.mark.parametrize("damage", [cut, empty, zeros, open_bracket])
def test_damaged_array_is_an_error_that_names_the_folder(
    source: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    parsed_arrays("numbers", [source], ARRAYS.items, version=1)
    (folder,) = cache.iterdir()
    path = folder / "pixels.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"pixels\.npy cannot be read \(.+\); delete the folder {folder};") as caught:
        parsed_arrays("numbers", [source], never, version=1)
    assert "\n" not in str(caught.value)


# Each process announces its parse and waits for the other one, so both write the same set.
AT_ONCE = """
import sys, time
from pathlib import Path
import numpy as np
from harness.data.cache import parsed_arrays
folder, mine, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def parse():
    yield "x", np.arange(1000)
    (folder / f"parsing-{mine}").touch()
    deadline = time.monotonic() + 60
    while not (folder / f"parsing-{other}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    yield "y", np.arange(2000)
arrays = parsed_arrays("numbers", [folder / "source"], parse, version=1)
print(*(f"{name}={int(array.sum())}" for name, array in arrays.items()))
"""


def test_two_processes_that_parse_at_once_both_succeed(source: Path, cache: Path) -> None:
    commands = [[sys.executable, "-c", AT_ONCE, str(source.parent), *names] for names in ("ab", "ba")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    outputs = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs == ["x=499500 y=1999000\n"] * 2
    assert {path.name for path in source.parent.glob("parsing-*")} == {"parsing-a", "parsing-b"}
    (folder,) = cache.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["x.npy", "y.npy"]


# Pss counts a page that n processes map as 1/n of it, proc(5).
HOLD = """
import re, sys
from pathlib import Path
from harness.data.cache import parsed_arrays
array = parsed_arrays("large", [Path(sys.argv[1])], None, version=1)["x"]
array.sum()
print("ready", flush=True)
input()
maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
ours = [entry for entry in maps if "/cache/parsed/" in entry]
print(sum(1024 * int(re.search(r"Pss: +(\\d+) kB", entry)[1]) for entry in ours), flush=True)
input()
"""


@pytest.mark.skipif(not os.access("/proc/self/smaps", os.R_OK), reason="reads /proc/self/smaps, which is Linux's")
def test_two_processes_share_the_pages_of_an_array(source: Path) -> None:
    large: dict[str, Array] = {"x": np.ones(16 * 2**20, dtype=np.uint8)}
    parsed_arrays("large", [source], large.items, version=1)
    assert sum(proportional_bytes([sys.executable, "-c", HOLD, str(source)], 2)) == pytest.approx(2**24, rel=0.02)


def proportional_bytes(command: list[str], count: int) -> list[int]:
    """Return what each of `count` processes prints once all are ready; all run until the last has printed."""
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    answers = []
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        answers.append(int(process.stdout.readline()))
    for process in running:
        process.communicate("\n", timeout=60)
    return answers

"""Look-up and verification of data files in real folders."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest

from harness.api.task import DataFile
from harness.data import files
from harness.data.download import fetch
from harness.data.files import file_status, locate, own_file, verify_all
from harness.errors import DataError
from tests.data.conftest import CONTENT, FILE, SHA256, Folders, Server


def test_locate_finds_the_file_in_the_data_folder_before_the_cache(folders: Folders) -> None:
    in_cache = folders.put(folders.cache)
    assert locate(FILE) == in_cache
    in_data = folders.put(folders.data)
    assert locate(FILE) == in_data


def test_locate_without_data_folder_finds_the_file_in_the_cache(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(files.DATA)
    path = folders.put(folders.cache)
    assert locate(FILE) == path


def test_cache_folder_is_the_users_unless_named(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.cache_folder() == folders.cache
    monkeypatch.delenv(files.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders.data))
    assert files.cache_folder().parts[-2:] == ("seqharness", "data")


def test_missing_file_names_what_is_expected_and_where_to_put_it(folders: Folders) -> None:
    with pytest.raises(DataError, match="is missing") as caught:
        locate(replace(FILE, url="https://example.org/a.mat"))
    message = str(caught.value)
    for part in (
        FILE.name,
        "102,400 bytes",
        SHA256,
        f"searched {folders.data} and {folders.cache}",
        f"Put it at {folders.data / FILE.name}",
        "https://example.org/a.mat",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]], ids=["size", "digest"])
def test_corrupt_file_names_path_and_both_digests(folders: Folders, content: bytes) -> None:
    path = folders.put(folders.data, content)
    with pytest.raises(DataError, match="has 102,") as caught:
        locate(FILE)
    message = str(caught.value)
    for part in (str(path), f"{len(content):,} bytes", hashlib.sha256(content).hexdigest(), "102,400 bytes", SHA256):
        assert part in message
    assert "\n" not in message


def test_corrupt_file_is_an_error_even_if_the_cache_has_a_valid_one(folders: Folders) -> None:
    folders.put(folders.cache)
    folders.put(folders.data, b"other")
    with pytest.raises(DataError, match=str(folders.data)):
        locate(FILE)


def test_folder_in_place_of_the_file_is_an_error(folders: Folders) -> None:
    (folders.data / FILE.name).mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        locate(FILE)


def test_changed_file_is_verified_again(folders: Folders) -> None:
    path = folders.put(folders.data)
    locate(FILE)
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="sha256"):
        locate(FILE)


def test_verification_is_remembered_while_size_and_time_stay(folders: Folders) -> None:
    path = folders.put(folders.data)
    os.utime(path, ns=(2, 2))
    locate(FILE)
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(2, 2))
    assert locate(FILE) == path


@pytest.mark.parametrize("name", ["../a.mat", "/etc/passwd", "tunes/../../a.mat", "..\\a.mat", "C:/a.mat", "", "."])
def test_name_that_points_outside_the_folder_is_rejected(folders: Folders, server: Server, name: str) -> None:
    file = replace(FILE, name=name, url=server.url("good"))
    for operation in (locate, file_status, fetch):
        with pytest.raises(DataError, match="points outside the data folder"):
            operation(file)
    assert server.requests == 0


def test_data_folder_that_does_not_exist_is_an_error(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.put(folders.cache)
    monkeypatch.setenv(files.DATA, str(folders.data / "absent"))
    for operation in (locate, file_status, fetch):
        with pytest.raises(DataError, match=f"{files.DATA} names .*absent, which is not a folder"):
            operation(FILE)


def test_status_is_missing_corrupt_or_present(folders: Folders) -> None:
    assert (file_status(FILE).state, file_status(FILE).path) == ("missing", None)
    path = folders.put(folders.cache, b"other")
    assert (file_status(FILE).state, file_status(FILE).path) == ("corrupt", path)
    assert "5 bytes" in file_status(FILE).detail
    folders.put(folders.cache)
    assert file_status(FILE) == files.FileStatus(FILE, path, "present", "")


def test_verify_all_maps_names_to_digests(folders: Folders) -> None:
    folders.put(folders.data)
    assert verify_all(file for file in [FILE]) == {FILE.name: SHA256}
    with pytest.raises(DataError, match=r"data file b\.mat .* is missing"):
        verify_all([FILE, replace(FILE, name="b.mat")])


def test_missing_file_of_an_archive_names_the_archive(folders: Folders, server: Server) -> None:
    archive = DataFile("set.zip", 3, "0" * 64, url=server.url("archive"))
    detail = file_status(replace(FILE, archive=archive, member="in/a.mat")).detail
    assert detail.endswith(f", or extract in/a.mat from {server.url('archive')}, as `harness data fetch` does")


def test_user_supplied_file_is_looked_up_at_its_own_path(folders: Folders) -> None:
    path = folders.data.parent / "mine.csv"
    path.write_bytes(CONTENT)
    mine = own_file(path)
    assert mine == DataFile(str(path), len(CONTENT), SHA256, own=True)
    assert locate(mine) == path
    path.write_bytes(b"changed")
    with pytest.raises(DataError, match=r"mine\.csv has 7 bytes, .*; restore the original content$"):
        locate(mine)
    path.unlink()
    with pytest.raises(DataError, match="is missing; restore it on every machine that trains"):
        locate(mine)


def test_path_of_a_user_supplied_file_is_relative_to_the_current_folder(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.data / "mine.csv").write_bytes(CONTENT)
    monkeypatch.chdir(folders.data)
    assert own_file("mine.csv").name == str(folders.data / "mine.csv")


def test_user_supplied_file_that_is_absent_empty_or_a_folder_is_an_error(folders: Folders) -> None:
    (folders.data / "empty").touch()
    for name, message in (
        ("absent", r"cannot be read \(No such file or directory\); relative paths start at the current folder"),
        ("empty", "is empty; name a file with data"),
        (".", "is a folder; name a file in it"),
    ):
        with pytest.raises(DataError, match=message):
            own_file(folders.data / name)

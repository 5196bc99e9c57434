"""The sample of mutants and the table; mutmut itself is not installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

import mutation


def test_sample_is_seeded_and_in_order() -> None:
    names = [f"m{number:02}" for number in range(50)]
    drawn = mutation.sample(names, 5, seed=0)
    assert drawn == sorted(drawn) == mutation.sample(names[::-1], 5, seed=0)
    assert drawn != mutation.sample(names, 5, seed=1)
    assert mutation.sample(names, 0, seed=0) == mutation.sample(names, 99, seed=0) == names


def test_groups_name_files_that_exist() -> None:
    for group in mutation.GROUPS.values():
        for file in (*group.modules, *group.tests):
            path = file.replace("own_tests/", "plugins/tasks/tests/")
            path = f"plugins/tasks/src/{path}" if path.startswith("harness_tasks/") else path
            assert (mutation.ROOT / path).is_file()


def test_mutant_that_was_not_run_is_no_survivor_but_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "mutants_of", lambda work, module: [f"{module}.a", f"{module}.b"])
    monkeypatch.setattr(mutation, "mutmut", lambda work, *arguments: "")
    monkeypatch.setattr(mutation, "prepare", lambda group, work: None)
    monkeypatch.setitem(mutation.GROUPS, "toy", mutation.Group(("m.py",), ("t.py",)))
    codes: dict[str, int | None] = {"m.py.a": 1, "m.py.b": None}
    monkeypatch.setattr(mutation, "results", lambda work: codes)
    with pytest.raises(SystemExit, match="toy: mutmut has not run all mutants"):
        mutation.score("toy", tmp_path, 0, 0)
    codes["m.py.b"] = 0
    assert mutation.score("toy", tmp_path, 0, 0) == mutation.Score(2, 2, 1, ("m.py.b",))


def test_table_sets_scores_beside_earlier_ones() -> None:
    now, then = mutation.Score(853, 20, 19, ("m",)), mutation.Score(853, 20, 17, ("m", "n", "o"))
    assert mutation.table({"race": now, "cuts": now}, {"race": then})[2:] == [
        "| race | 853 | 20 | 17 of 20 | 19 | 95 % |",
        "| cuts | 853 | 20 | – | 19 | 95 % |",
    ]

"""What the plugin brings, as the harness sees it."""

from __future__ import annotations

import pytest
import torch
from optuna.distributions import FloatDistribution

from harness import Seeds, Task
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness_tasks import (
    Adding,
    CopyMemory,
    JsbChorales,
    Lambada,
    Nottingham,
    OwnArrays,
    PermutedMnist,
    PtbChar,
    PtbWord,
    SequentialMnist,
    Text8,
    TextFile,
    WikiText2,
    WikiText103,
)

TASKS: list[Task] = [Adding(), CopyMemory(), JsbChorales(), Nottingham(), SequentialMnist(), PermutedMnist()]
SMALL: list[Adding | CopyMemory] = [Adding(length=20, sequences=50), CopyMemory(length=5, sequences=50)]


def test_plugin_registers_its_tasks_under_their_names() -> None:
    tasks = load_plugins().registry.tasks
    expected = {
        "adding": Adding,
        "arrays": OwnArrays,
        "copy-memory": CopyMemory,
        "jsb-chorales": JsbChorales,
        "lambada": Lambada,
        "nottingham": Nottingham,
        "permuted-mnist": PermutedMnist,
        "ptb-char": PtbChar,
        "ptb-word": PtbWord,
        "sequential-mnist": SequentialMnist,
        "text-file": TextFile,
        "text8": Text8,
        "wikitext-2": WikiText2,
        "wikitext-103": WikiText103,
    }
    ours = {name: entry.value for name, entry in tasks.items() if entry.plugin.name == "seqharness-tasks"}
    assert ours == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adding", {"length": 1}),
        ("adding", {"sequences": 0}),
        ("adding", {"validation": 0}),
        ("adding", {"test": 0}),
        ("adding", {"length": "600"}),
        ("copy-memory", {"length": 0}),
        ("copy-memory", {"sequences": 0}),
        ("jsb-chorales", {"length": 3}),
        ("permuted-mnist", {"seed": 3}),
        ("ptb-word", {"reading": "whole"}),
        ("ptb-word", {"scored": 0}),
        ("ptb-char", {"history": -1}),
        ("ptb-char", {"text": "raw"}),
        ("wikitext-2", {"embedding": 0}),
        ("wikitext-103", {"fraction": 0.5}),
        ("lambada", {"length": 3}),
    ],
)
def test_wrong_option_is_refused_by_name(name: str, options: dict[str, int | str]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(options))!r}"):
        load_plugins().registry.make_task(name, dict(options))


# Table 1 of the paper; adding at T = 200 and 400 and copy memory at T = 500 and 2000 appear in Table 2 only.
PUBLISHED = [
    (Adding(length=200), "adding-200", 58_051, None),
    (Adding(length=400), "adding-400", 67_582, None),
    (Adding(), "adding-600", 70_369, (0.164, 5.3e-5, 0.177, 5.8e-5)),
    (CopyMemory(length=500), "copy-memory-500", 10_750, None),
    (CopyMemory(), "copy-memory-1000", 12_530, (0.0204, 0.0197, 0.0202, 3.5e-5)),
    (CopyMemory(length=2000), "copy-memory-2000", 14_170, None),
    (JsbChorales(), "jsb-chorales", 269_938, (8.45, 8.43, 8.91, 8.10)),
    (Nottingham(), "nottingham", 1_053_238, (3.29, 3.46, 4.05, 3.07)),
    (SequentialMnist(), "sequential-mnist", 66_910, (87.2, 96.2, 21.5, 99.0)),
    (PermutedMnist(), "permuted-mnist", 66_910, (85.7, 87.3, 25.3, 97.2)),
]


@pytest.mark.parametrize(("task", "row", "parameters", "results"), PUBLISHED, ids=[case[1] for case in PUBLISHED])
def test_published_row_is_the_papers(task: Task, row: str, parameters: int, results: tuple[float, ...] | None) -> None:
    published = task.published()
    assert published is not None
    assert task.row() == row
    assert published.parameters == parameters
    table_1 = {name: value for name, value in published.results.items() if name != "gated-tcn"}
    assert table_1 == (dict(zip(("lstm", "gru", "rnn", "tcn"), results, strict=True)) if results else {})
    assert f"Table {1 if results else 2}" in published.source
    assert "count of the published TCN" in published.note


@pytest.mark.parametrize("task", [Adding(length=300), CopyMemory(length=30)], ids=lambda task: task.row())
def test_length_that_is_not_published_has_no_row(task: Task) -> None:
    assert task.published() is None


@pytest.mark.parametrize("task", [Adding(sequences=100), CopyMemory(sequences=100)], ids=lambda task: task.row())
def test_published_results_stand_for_the_published_training_set_only(task: Task) -> None:
    published = task.published()
    assert published is not None
    assert published.parameters is not None
    assert published.results == {}


TABLE_5 = [
    (SequentialMnist(), 99.0),
    (PermutedMnist(), 96.9),
    (Adding(), 5.6e-5),
    (CopyMemory(), 0.00508),
    (JsbChorales(), 8.13),
    (Nottingham(), 3.12),
    (PtbWord(), 87.94),
    (PtbChar(), 1.306),
    (Text8(), 1.485),
]


@pytest.mark.parametrize(("task", "result"), TABLE_5, ids=[task.name for task, _ in TABLE_5])
def test_result_of_the_gated_tcn_is_that_of_table_5(task: Task, result: float) -> None:
    published = task.published()
    assert published is not None
    assert published.results["gated-tcn"] == result
    assert [name for name, source in published.sources.items() if "Table 5" in source] == ["gated-tcn"]


@pytest.mark.parametrize("task", [WikiText103(), Lambada(), CopyMemory(length=500)], ids=lambda task: task.name)
def test_rows_that_table_5_lacks_have_no_result_of_the_gated_tcn(task: Task) -> None:
    published = task.published()
    assert published is not None
    assert "gated-tcn" not in published.results
    assert published.sources == {}


# Tables 2 and 3: dropout of TCN and of LSTM.
@pytest.mark.parametrize(
    ("task", "dropouts"),
    list(zip(TASKS, [(0.0, 0.0), (0.05, 0.05), (0.5, 0.2), (0.2, 0.1), (0.0, 0.0), (0.0, 0.0)], strict=True)),
    ids=[task.name for task in TASKS],
)
def test_published_dropout_is_in_range(task: Task, dropouts: tuple[float, ...]) -> None:
    ranges = task.regularisation()
    distribution = ranges["dropout"]
    assert list(ranges) == ["dropout"]
    assert isinstance(distribution, FloatDistribution)
    for value in dropouts:
        on_grid = distribution.step is None or (value / distribution.step) % 1 == pytest.approx(0)
        assert distribution.low <= value <= distribution.high
        assert on_grid


def test_training_sequences_are_the_papers() -> None:
    assert [task.training_sequences() for task in TASKS] == [50_000, 10_000, 229, 694, 55_000, 55_000]


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_test_split_follows_from_the_fixed_seed_alone(task: Adding | CopyMemory) -> None:
    first, second = Seeds.of(7, 0), Seeds.of(7, 3)
    assert torch.equal(task.load("test", first, {}).inputs, task.load("test", second, {}).inputs)
    assert not torch.equal(task.load("test", first, {}).inputs, task.load("test", Seeds.of(8, 0), {}).inputs)
    for split in ("train", "validation"):
        assert not torch.equal(task.load(split, first, {}).inputs, task.load(split, second, {}).inputs)
        same_data = second.model_copy(update={"data": first.data, "fixed": 5})
        assert torch.equal(task.load(split, first, {}).inputs, task.load(split, same_data, {}).inputs)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_metric_prefers_a_better_total(task: Task) -> None:
    for metric in task.metrics():
        low, high = metric.of({metric.name: (1.0, 4)}), metric.of({metric.name: (3.0, 4)})
        assert low < high
        # Totals of accuracy count what is right, all others what is lost.
        assert metric.better == ("higher" if metric.name.endswith("accuracy") else "lower")
        assert metric.margin > 0

"""The task on a text of the user's own."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import DataError, Seeds
from harness.api.dataset import SPLITS
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness.testing import check_task
from harness_tasks import TextFile

SEEDS = Seeds.of(0, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def prose(words: int = 4000, seed: int = 0) -> str:
    """Lines of words whose frequencies fall as 1/rank, with an umlaut among them."""
    random = np.random.default_rng(seed)
    known = [f"w{number}" if number else "größe" for number in range(60)]
    shares = 1 / np.arange(1, 61)
    drawn = random.choice(known, size=words, p=shares / shares.sum())
    return "\n".join(" ".join(drawn[start : start + 11]) for start in range(0, words, 11)) + "\n"


def text(folder: Path, content: str | bytes, **options: Any) -> TextFile:
    path = folder / "my.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextFile(data=str(path), **options)


def streams(task: TextFile) -> dict[str, list[int]]:
    return {split: task.load(split, SEEDS, {}).tokens.tolist() for split in SPLITS}


def test_splits_are_the_text_in_its_order(tmp_path: Path) -> None:
    content = prose()
    task = text(tmp_path, content)
    alphabet = sorted(set(content))
    assert task.vocabulary() == len(alphabet)
    joined = [token for tokens in streams(task).values() for token in tokens]
    assert "".join(alphabet[token] for token in joined) == content
    counts = {split: len(tokens) for split, tokens in streams(task).items()}
    assert counts["validation"] == counts["test"] == round(0.1 * len(content))
    assert alphabet[task.before] == "\n"


def test_line_breaks_of_any_system_are_one_character(tmp_path: Path) -> None:
    content = prose()
    plain = streams(text(tmp_path, content))
    assert streams(text(tmp_path, b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())) == plain


def test_floor_of_characters_is_their_frequencies(tmp_path: Path) -> None:
    task = text(tmp_path, prose())
    splits, size = streams(task), task.vocabulary()
    counts = Counter(splits["train"])
    bits = [-math.log2((counts[token] + 0.5) / (len(splits["train"]) + size / 2)) for token in splits["test"]]
    assert task.floor() == pytest.approx(sum(bits) / len(bits))
    bits = [-math.log2((counts[token] + 0.5) / (len(splits["train"]) + size / 2)) for token in splits["validation"]]
    assert task.validation_floor() == pytest.approx(sum(bits) / len(bits))
    assert task.metric.name == "bpc"


def test_words_beyond_the_vocabulary_are_unknown(tmp_path: Path) -> None:
    content = prose() + "never seen before\n" * 3
    task = text(tmp_path, content, unit="words", most_words=12)
    assert task.vocabulary() == 12
    splits = streams(task)
    train = [word for line in content.splitlines() for word in [*line.split(), "<eos>"]][: len(splits["train"])]
    kept = [word for word, _ in sorted(Counter(w for w in train if w != "<eos>").items(), key=lambda p: (-p[1], p[0]))]
    names = ["<eos>", "<unk>", *kept[:10]]
    assert [names[token] for token in splits["train"]] == [word if word in names else "<unk>" for word in train]
    assert splits["test"][-4:] == [1, 1, 1, 0]
    assert any("held-out words and " in note and note.endswith(" are <unk>") for note in task.notes())
    assert task.metric.name == "perplexity"


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_what_occurs_once_in_training_is_unknown_there(unit: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    signs = [chr(code) for code in range(0x4E00, 0x4E00 + 4000)]
    drawn = random.choice(signs, size=5000, p=(shares := 1 / np.arange(1, 4001)) / shares.sum())
    task = text(tmp_path, (" " if unit == "words" else "").join(drawn), unit=unit)
    splits = streams(task)
    unknown = 1 if unit == "words" else task.vocabulary() - 1
    once = sum(count == 1 for count in Counter(drawn[: len(splits["train"])].tolist()).values())
    in_training, in_test = splits["train"].count(unknown), splits["test"].count(unknown)
    assert in_training == once
    assert 0.5 < in_training / len(splits["train"]) / (in_test / len(splits["test"])) < 1
    assert min(Counter(splits["train"]).values()) >= 2 or unit == "words"
    assert max(max(tokens) for tokens in splits.values()) < task.vocabulary()
    assert any(f"{in_training:,} of {len(splits['train']):,} training {unit} are <unk>" in n for n in task.notes())


def test_text_without_a_word_twice_is_refused(tmp_path: Path) -> None:
    content = " ".join(f"w{number}" for number in range(2000))
    with pytest.raises(DataError, match=r"my\.txt: only 2 different words occur twice in the training text, but at"):
        text(tmp_path, content, unit="words").signature()


def test_facts_are_enough_to_predict_without_the_file(tmp_path: Path) -> None:
    task = text(tmp_path, prose())
    signature, kept = task.signature(), task.with_prediction_facts(task.prediction_facts())
    Path(task.data).unlink()
    assert (kept.signature(), kept.files()) == (signature, ())


def test_floor_of_words_is_a_perplexity(tmp_path: Path) -> None:
    task = text(tmp_path, prose(), unit="words")
    splits, size = streams(task), task.vocabulary()
    counts = Counter(splits["train"])
    nats = [-math.log((counts[token] + 0.5) / (len(splits["train"]) + size / 2)) for token in splits["test"]]
    assert task.floor() == pytest.approx(math.exp(sum(nats) / len(nats)))


def test_files_of_their_own_are_the_splits(tmp_path: Path) -> None:
    (tmp_path / "test.md").write_text("x" * 150)
    task = text(tmp_path, prose(), test_data=str(tmp_path / "test.md"))
    splits = streams(task)
    assert len(splits["test"]) == 150
    assert len(splits["train"]) + len(splits["validation"]) == len(prose())
    assert len(set(splits["test"])) == 1


@pytest.mark.parametrize("unit", ["characters", "words"])
@pytest.mark.parametrize("reading", ["carry", "window"])
def test_contract(unit: str, reading: str, tmp_path: Path) -> None:
    task = text(tmp_path, prose(), unit=unit, reading=reading, embedding=8, scored=20)
    assert [(result.check, result.reason) for result in check_task(task) if not result.good] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"my\.txt: is empty"),
        ("größe ".encode("latin-1") * 500, r"my\.txt: is not UTF-8 text .*; save it as UTF-8"),
        (b"ten words " * 10, r"my\.txt: too little text: 80 characters for train, but at least 1,000 are needed"),
    ],
)
def test_bad_text_is_told_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        text(tmp_path, content).signature()
    assert "\n" not in str(error.value)


def test_shares_that_leave_nothing_to_train_are_refused() -> None:
    with pytest.raises(StudyError, match="validation and test take 98% of the text"):
        load_plugins().registry.make_task("text-file", {"data": "x.txt", "validation": 0.49, "test": 0.49})

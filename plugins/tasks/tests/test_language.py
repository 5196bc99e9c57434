"""Language models: how text becomes tokens by hand-made files, what the paper says, counts and floors on real data."""

from __future__ import annotations

import io
import math
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import FloatDistribution
from torch import Tensor, nn

from harness import Arrays, Batch, DataError, Ragged, Seeds, Split, Stream, Task
from harness.api.dataset import SPLITS
from harness.data.files import CACHE, DATA, locate
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness.records import Optimisation, Training
from harness.study.budget import count_at
from harness.study.file import parse_study, read_study_file
from harness.study.plan import make_plan
from harness.study.space import contains
from harness.training import checkpoint
from harness.training.batches import StreamBatches, evaluation_batches
from harness.training.evaluation import evaluate
from harness.training.network import Network, build_network
from harness.training.run import TrainingData, TrainingRun
from harness_tasks import Lambada, PtbChar, PtbWord, Text8, WikiText2, WikiText103
from harness_tasks.lambada import NOVELS, PASSAGES, UNKNOWN, VOCABULARY
from harness_tasks.language import Language, Vocabulary
from harness_tasks.penn_treebank import FILES
from harness_tasks.text8 import ALPHABET, PART, WHOLE
from harness_tasks.wikitext import WIKITEXT_2, WIKITEXT_103

CPU = torch.device("cpu")
SEEDS = Seeds.of(0, 0)
TASKS: list[Language] = [PtbWord(), PtbChar(), PtbChar(text="raw-eos"), Text8(), WikiText2(), WikiText103(), Lambada()]
STUDIES = Path(__file__).parents[3] / "studies"
needs_data = pytest.mark.skipif(DATA not in os.environ, reason=f"reads the texts below {DATA}")

Files = dict[str, Path]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(CACHE, str(folder))
        yield folder


def official(task: Task) -> Files:
    return {file.name: locate(file) for file in task.files()}


def stream(task: Task, split: Split, files: Files) -> Stream:
    data = task.load(split, SEEDS, files)
    assert isinstance(data, Stream)
    return data


def written(folder: Path, texts: dict[str, str]) -> Files:
    """Name of a data file → where its text was written."""
    paths = {name: folder / Path(name).name for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8", newline="")
    return paths


# Text → tokens.


def test_words_are_numbered_as_they_first_appear_with_an_end_after_each_line(tmp_path: Path) -> None:
    texts = {"train": " the cat <unk>\n the dog\n", "validation": "dog the\n", "test": "\ncat\n"}
    files = written(tmp_path, {FILES[split].name: texts[split] for split in SPLITS})
    expected = {"train": [0, 1, 2, 3, 0, 4, 3], "validation": [4, 0, 3], "test": [3, 1, 3]}
    assert {split: stream(PtbWord(), split, files).tokens.tolist() for split in SPLITS} == expected


def test_word_that_training_lacks_is_refused_in_the_other_splits(tmp_path: Path) -> None:
    texts = {"train": "the cat\n", "validation": "the cow\n", "test": "the\n"}
    files = written(tmp_path, {FILES[split].name: texts[split] for split in SPLITS})
    with pytest.raises(DataError, match=r"ptb\.valid\.txt: the word 'cow' is not among those of the training text"):
        PtbWord().load("test", SEEDS, files)


def test_one_word_too_many_is_refused() -> None:
    assert Vocabulary(3).read(["a b"], "here", new=True).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="here: more than 3 different words; the first one too many is 'c'"):
        Vocabulary(3).read(["a b", "c"], "here", new=True)


def test_characters_of_the_mikolov_text_have_a_line_for_a_space(tmp_path: Path) -> None:
    texts = {"train": " ca b \n a <u> \n", "validation": "a b \n", "test": "b\n"}
    files = written(tmp_path, {FILES[split].name: texts[split] for split in SPLITS})
    alphabet = sorted("\n<>_abcu")
    expected = {"train": "ca_b\na_<u>\n", "validation": "a_b\n", "test": "b\n"}
    for split in SPLITS:
        read = "".join(alphabet[code] for code in stream(PtbChar(), split, files).tokens)
        assert read == expected[split]


def test_raw_text_has_five_characters_for_each_newline(tmp_path: Path) -> None:
    texts = {"train": " a cat\n soe\n", "validation": "tac\n", "test": "\n\n"}
    files = written(tmp_path, {FILES[split].name: texts[split] for split in SPLITS})
    alphabet = sorted(" <>aceost")
    for split in SPLITS:
        read = "".join(alphabet[code] for code in stream(PtbChar(text="raw-eos"), split, files).tokens)
        assert read == texts[split].replace("\n", "<eos>")


def test_character_that_training_lacks_is_refused(tmp_path: Path) -> None:
    texts = {"train": "a b\n", "validation": "a x\n", "test": "a\n"}
    files = written(tmp_path, {FILES[split].name: texts[split] for split in SPLITS})
    with pytest.raises(DataError, match=r"ptb\.valid\.txt: has the character b'x', which is not in the alphabet"):
        PtbChar().load("train", SEEDS, files)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, {FILES[split].name: "a\n" for split in SPLITS})
    files[FILES["train"].name].write_bytes(b"a\xff\n")
    with pytest.raises(DataError, match=r"ptb\.train\.txt: is not UTF-8 text \(invalid start byte at byte 1\)"):
        PtbWord().load("train", SEEDS, files)


# text8.


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_text8_is_cut_in_order_into_its_splits(tmp_path: Path) -> None:
    text = np.random.default_rng(0).choice(list(ALPHABET), 3000).astype(np.uint8).tobytes()
    task = Text8(fraction=2e-5)
    files = {PART.name: zipped(tmp_path / "a.zip", {"text8": text})}
    read = [bytes(ALPHABET[code] for code in stream(task, split, files).tokens) for split in SPLITS]
    assert read == [text[:1800], text[1800:1900], text[1900:2000]]
    assert task.training_tokens() == 1800


def test_text_too_short_for_text8_is_refused_with_the_size_it_should_have(tmp_path: Path) -> None:
    files = {WHOLE.name: zipped(tmp_path / "a.zip", {"text8": b"one two"})}
    with pytest.raises(DataError, match=r"holds 7 characters, but text8 has 100,000,000; set the task's fraction"):
        Text8().load("train", SEEDS, files)
    with pytest.raises(DataError, match=r"holds 7 characters, but text8 has 100,000,000; this fraction needs 1,000"):
        Text8(fraction=1e-5).load("train", SEEDS, files)


@pytest.mark.parametrize("members", [{}, {"a": b"a", "b": b"b"}])
def test_archive_of_another_form_is_refused_as_text8(tmp_path: Path, members: dict[str, bytes]) -> None:
    files = {WHOLE.name: zipped(tmp_path / "a.zip", members)}
    with pytest.raises(DataError, match="cannot be read as an archive of one text"):
        Text8().load("train", SEEDS, files)


def test_part_of_text8_serves_small_fractions_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA, str(tmp_path))
    assert Text8(fraction=0.125).files() == (PART,)
    assert Text8(fraction=0.126).files() == (WHOLE,)
    assert Text8().files() == (WHOLE,)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5])
def test_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(StudyError, match="'fraction'"):
        load_plugins().registry.make_task("text8", {"fraction": fraction})


def test_fraction_stands_in_the_label_and_takes_the_published_results_away() -> None:
    study = parse_study(
        {
            "name": "part",
            "models": ["gru"],
            "tasks": [{"name": "text8", "fraction": 0.125}],
            "training": {"updates": 9, "batch_size": 2},
        },
        source="part.toml",
    )
    (cell,) = make_plan(study, load_plugins().registry).cells
    assert str(cell.cell) == "text8-fraction-0.125/gru"
    assert cell.facts.task.options == {"fraction": 0.125}
    assert cell.facts.published is None


# WikiText.


ARTICLE = " \n = Title = \n \n A\u2028cat , \u00a0 <unk> . \n"


def test_wikitext_103_is_read_from_its_archive(tmp_path: Path) -> None:
    members = {f"wikitext-103/wiki.{name}.tokens": text.encode() for name, text in WIKI.items()}
    files = {WIKITEXT_103.name: zipped(tmp_path / "wikitext-103-v1.zip", {"wikitext-103/": b"", **members})}
    small = written(tmp_path, {WIKITEXT_2[split].name: text for split, text in zip(SPLITS, WIKI.values(), strict=True)})
    for split in SPLITS:
        tokens = stream(WikiText103(), split, files).tokens
        assert torch.equal(tokens, stream(WikiText2(), split, small).tokens)
    # Four lines, each with an end; a line separator (U+2028) parts words and no lines.
    assert stream(WikiText103(), "train", files).tokens.tolist() == [0, 1, 2, 1, 0, 0, 3, 4, 5, 6, 7, 0]


WIKI = {"train": ARTICLE, "valid": " cat cat \n", "test": " = A = \n"}


@pytest.mark.parametrize("members", [{}, {"wiki.train.tokens": b"a"}])
def test_archive_of_another_form_is_refused_as_wikitext_103(tmp_path: Path, members: dict[str, bytes]) -> None:
    files = {WIKITEXT_103.name: zipped(tmp_path / "a.zip", members)}
    with pytest.raises(DataError, match=r"is not the archive of WikiText-103 \(.*wiki\.train\.tokens"):
        WikiText103().load("train", SEEDS, files)


def test_missing_archive_is_told_with_its_size_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DATA, str(tmp_path))
    for file, size in ((WIKITEXT_103, "190,229,076"), (NOVELS, "334,527,694"), (WHOLE, "31,344,016")):
        with pytest.raises(DataError, match=rf"{file.name} \({size} bytes, .*Put it at {tmp_path}/{file.name}, or"):
            locate(file)


# LAMBADA.


def novels(path: Path, texts: dict[str, str], *, nested: bool) -> Path:
    """The official archive holds the novels in a train-novels.tar; `nested` False has them in the archive itself."""

    def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for name, text in texts.items():
            add(archive, name, text.encode())
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "lambada_control_test_data_plain_text.txt", b"not a novel")
        if nested:
            add(archive, "train-novels.tar", inner.getvalue())
        else:
            for name, text in texts.items():
                add(archive, name, text.encode())
    return path


TEXTS = {
    "train-novels/Adventure/One.txt": "she saw the sea .\n\nit was n't far\n",
    "train-novels/Adventure/notes.md": "sea sea",
    "train-novels/Romance/Two.txt": "the ca-t's sea , Zanzibar",
}


def lambada_files(folder: Path, *, nested: bool = True) -> Files:
    files = written(
        folder,
        {
            VOCABULARY.name: "\n".join([",", ".", "far", "is", "it", "not", "saw", "sea", "she", "the", "was", "cats"]),
            PASSAGES["validation"].name: "she saw the sea\nit was the Zanzibar\nthe sea was n't\n",
            PASSAGES["test"].name: "Zanzibar was far\n",
        },
    )
    return {**files, NOVELS.name: novels(folder / "lambada-dataset.tar.gz", TEXTS, nested=nested)}


@pytest.mark.parametrize("nested", [True, False])
def test_novels_are_read_from_the_official_archive_end_to_end(tmp_path: Path, nested: bool) -> None:
    files = lambada_files(tmp_path, nested=nested)
    tokens = stream(Lambada(), "train", files).tokens.tolist()
    words = [*files[VOCABULARY.name].read_text().split(), "?"]
    read = " ".join(words[min(token, len(words) - 1)] for token in tokens)
    assert read == "she saw the sea . it was not far the cats sea , ?"
    assert tokens[-1] == UNKNOWN


def test_last_word_is_the_target_and_is_not_shown(tmp_path: Path) -> None:
    data = Lambada().load("validation", SEEDS, lambada_files(tmp_path))
    assert isinstance(data, Ragged)
    assert data.last
    assert data.lengths.tolist() == [3, 3]  # the passage that ends on an unknown word is left out
    assert data.inputs.tolist() == [8, 6, 9, 9, 7, 10]
    assert data.targets.tolist() == [7, 5]


def test_archive_without_novels_is_refused(tmp_path: Path) -> None:
    files = {**lambada_files(tmp_path), NOVELS.name: novels(tmp_path / "b.tar.gz", {}, nested=True)}
    with pytest.raises(DataError, match=r"b\.tar\.gz: holds no train-novels/\*/\*\.txt"):
        Lambada().load("train", SEEDS, files)
    (tmp_path / "c.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"c\.tar\.gz: is not the archive of LAMBADA \(ReadError"):
        Lambada().load("train", SEEDS, {**files, NOVELS.name: tmp_path / "c.tar.gz"})


@pytest.mark.parametrize("reading", ["carry", "window"])
@pytest.mark.parametrize("model", ["tcn", "rnn"])
def test_lambada_trains_on_a_small_archive_and_is_scored_on_last_words(
    tmp_path: Path, model: str, reading: str
) -> None:
    files = lambada_files(tmp_path)
    task = Lambada.model_validate({"embedding": 2, "scored": 3, "history": 2, "reading": reading})
    net = small_network(task, model)
    run = trained(net, task, files)
    nats = 0.0
    with torch.no_grad():
        for context, target in (([8, 6, 9], 7), ([9, 7, 10], 5)):
            logits = net.eval()(torch.tensor([context]))[0, -1]
            nats -= torch.log_softmax(logits, -1)[target].item()
    assert run.points[-1].metrics["perplexity"] == pytest.approx(math.exp(nats / 2), rel=1e-5)


@pytest.mark.parametrize("model", ["tcn", "rnn"])
def test_wikitext_103_trains_on_a_small_archive_in_the_official_layout(tmp_path: Path, model: str) -> None:
    members = {f"wikitext-103/wiki.{name}.tokens": text.encode() for name, text in WIKI.items()}
    files = {WIKITEXT_103.name: zipped(tmp_path / "wikitext-103-v1.zip", members)}
    task = WikiText103(embedding=2, scored=3)
    run = trained(small_network(task, model), task, files)
    # Nearly untrained: about as many choices as there are words.
    assert run.points[-1].metrics["perplexity"] == pytest.approx(task.vocabulary(), rel=0.5)


def trained(net: Network, task: Task, files: Files) -> TrainingRun:
    """Four updates, to the end."""
    run = TrainingRun(
        net,
        task,
        training=Training(updates=4, batch_size=2, evaluate_every=4),
        optimisation=Optimisation(learning_rate=0.01),
        data=TrainingData(task.load("train", SEEDS, files), task.load("validation", SEEDS, files)),
        seeds=SEEDS,
    )
    run.advance(1e9)
    assert run.outcome == "complete"
    return run


class Unscanned(nn.Module):
    """A backbone that is evaluated in windows, because it does not offer its `scan`."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_features, self.receptive_field = backbone.out_features, backbone.receptive_field

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)  # type: ignore[no-any-return]


def small_network(task: Task, model: str, width: int = 3) -> Network:
    torch.manual_seed(0)
    build: dict[str, Any] = {"kernel_size": 2, "levels": 2} if model == "tcn" else {"layers": 2}
    return build_network(load_plugins().registry.model(model).value, task.signature(), (width, width), build)


# What is scored.


@pytest.mark.parametrize("task", [PtbWord(), PtbChar()], ids=lambda task: task.name)
def test_loss_leaves_out_the_steps_that_a_row_does_not_have(task: Language) -> None:
    output = torch.randn(2, 3, task.vocabulary(), generator=torch.Generator().manual_seed(0), requires_grad=True)
    values = output.detach().double()
    targets = torch.tensor([[1, 2, 3], [4, 5, 6]])
    nats = -torch.log_softmax(values, -1).gather(-1, targets[..., None])[..., 0]
    whole = task.loss(output, Batch(targets, targets))["nll"]
    assert whole.sum.item() == pytest.approx(float(nats.sum()), rel=1e-6)
    assert int(whole.count) == 6
    part = task.loss(output, Batch(targets, targets, lengths=torch.tensor([3, 2])))["nll"]
    assert part.sum.item() == pytest.approx(float(nats.sum() - nats[1, 2]), rel=1e-6)
    assert int(part.count) == 5
    (gradient,) = torch.autograd.grad(part.sum, output)
    assert bool((gradient[1, 2] == 0).all())
    assert bool((gradient[1, 1] != 0).any())


def test_metrics_are_perplexity_and_bits() -> None:
    sums = {"nll": (4 * math.log(8), 4.0)}
    assert PtbWord().metric.of(sums) == pytest.approx(8)
    assert PtbChar().metric.of(sums) == pytest.approx(3)
    assert [task.metric.better for task in TASKS] == ["lower"] * 7


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.vocabulary()}")
@pytest.mark.parametrize("batch_size", [1, 16, 32])
def test_updates_an_epoch_are_those_of_the_batches(task: Language, batch_size: int) -> None:
    tokens = torch.zeros(1, dtype=torch.uint8).expand(task.training_tokens())
    data = Stream(tokens, before=0, scored=task.scored, history=None)
    batches = StreamBatches(data, rows=batch_size, scored=task.scored, history=None, device=CPU)
    assert task.updates_per_epoch(batch_size) == batches.per_epoch


@pytest.mark.parametrize("model", ["tcn", "lstm", "gru"])
def test_training_restored_between_two_windows_equals_an_undisturbed_one(tmp_path: Path, model: str) -> None:
    task = PtbChar(embedding=4, scored=7)
    tokens = np.random.default_rng(0).integers(50, size=500).astype(np.uint8)

    def run() -> TrainingRun:
        return TrainingRun(
            small_network(task, model),
            task,
            training=Training(updates=30, batch_size=3, evaluate_every=15),
            optimisation=Optimisation(learning_rate=0.01),
            data=TrainingData(task.stream(tokens), task.stream(tokens[:90])),
            seeds=SEEDS,
        )

    whole, first, second = run(), run(), run()
    whole.advance(1e9)
    for _ in range(11):
        first.advance(0)
    checkpoint.save(tmp_path / "a.pt", first.state(), trial="t")
    second.restore(checkpoint.load(tmp_path / "a.pt", trial="t"))
    second.advance(1e9)
    assert whole.outcome == second.outcome == "complete"
    assert [point.metrics for point in whole.points] == [point.metrics for point in second.points]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def released_evaluation(net: Network, tokens: Tensor, *, scored: int, history: int) -> tuple[float, int]:
    """Nats and tokens of `evaluate` in locuslab/TCN's word_cnn_test.py, without windows that are cut off."""
    rows = tokens[: len(tokens) // 10 * 10].view(10, -1)
    nats, count = 0.0, 0
    for first in range(0, rows.shape[1] - 1, scored):
        if first + history + scored > rows.shape[1] - 1:
            continue
        inputs = rows[:, first : first + history + scored]
        targets = rows[:, first + 1 : first + 1 + history + scored][:, history:]
        with torch.no_grad():
            output = net.eval()(inputs)[:, history:]
        nats += float(nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="sum"))
        count += targets.numel()
    return nats, count


@pytest.mark.parametrize("length", [1000, 1009, 1210])
@pytest.mark.parametrize("model", ["tcn", "lstm"])
def test_second_reading_is_the_released_codes_evaluation(model: str, length: int) -> None:
    task = PtbChar(embedding=4, scored=16, history=8)
    tokens = torch.randint(50, (length,), generator=torch.Generator().manual_seed(0))
    net = small_network(task, model).double()
    data = task.stream(tokens.numpy().astype(np.uint8))
    (name, reading), *others = task.readings(data).items()
    nats, count = released_evaluation(net, tokens, scored=16, history=8)
    assert (name, others) == ("24-16", [])
    assert isinstance(reading, Arrays)
    assert reading.targets.numel() == count > 0
    assert evaluate(net, task, reading, CPU)["bpc"] == pytest.approx(nats / count / math.log(2), rel=1e-12)


def test_readings_are_named_after_the_released_codes_and_absent_where_it_has_none() -> None:
    tokens = np.zeros(5000, dtype=np.uint8)
    names = [list(task.readings(task.stream(tokens))) for task in TASKS]
    assert names == [["80-40"], ["400-320"], ["400-320"], ["400-320"], ["80-40"], [], ["100-50"]]
    assert PtbWord().readings(PtbWord().stream(tokens[:800])) == {}
    passages = Ragged(torch.zeros(2), torch.zeros(1), torch.tensor([2]), last=True)
    assert Lambada().readings(passages) == {}


# The paper.


PUBLISHED = [
    (PtbWord(), 14_659_600, {"lstm": 78.93, "gru": 92.48, "rnn": 114.50, "tcn": 88.68}),
    (WikiText103(), 132_060_735, {"lstm": 48.4, "tcn": 45.19}),
    (Lambada(), 56_711_216, {"lstm": 4186, "rnn": 14725, "tcn": 1279}),
    (PtbChar(), 2_222_100, {"lstm": 1.36, "gru": 1.37, "rnn": 1.48, "tcn": 1.31}),
    (PtbChar(text="raw-eos"), 2_221_999, {"lstm": 1.36, "gru": 1.37, "rnn": 1.48, "tcn": 1.31}),
    (Text8(), 4_129_667, {"lstm": 1.50, "gru": 1.53, "rnn": 1.69, "tcn": 1.45}),
]


@pytest.mark.parametrize(("task", "parameters", "results"), PUBLISHED, ids=[f"{c[0].name}-{c[1]}" for c in PUBLISHED])
def test_published_row_is_the_papers_at_the_count_of_its_tcn(
    task: Language, parameters: int, results: dict[str, float]
) -> None:
    row = task.published()
    assert row is not None
    table_1 = {name: value for name, value in row.results.items() if name != "gated-tcn"}
    assert (row.parameters, table_1) == (parameters, results)
    assert "Table 1" in row.source
    model = load_plugins().registry.model("tcn").value
    setting = model.published(task.row())
    assert setting is not None
    assert setting.embedding == task.embedding
    assert count_at(model, task.signature(), setting.widths, setting.params).parameters == parameters
    dropout = task.regularisation()["dropout"]
    assert isinstance(dropout, FloatDistribution)
    assert contains(FloatDistribution(dropout.low, dropout.high), setting.params["dropout"])


@pytest.mark.parametrize(
    ("task", "parameters"),
    [(PtbWord(), 18_786_800), (PtbChar(), 4_653_650), (Text8(), 4_724_931)],
)
def test_published_lstm_has_its_count(task: Language, parameters: int) -> None:
    """On words the decoder is tied (section 5.3); the character models, of which the paper says nothing, are not."""
    model = load_plugins().registry.model("lstm").value
    setting = model.published(task.row())
    assert setting is not None
    signature = task.signature().with_embedding(setting.embedding, tied=setting.tied)
    assert count_at(model, signature, setting.widths, setting.params).parameters == parameters


ROWS = ["lambada", "ptb-char", "ptb-word", "text8", "wikitext-103"]


@pytest.mark.parametrize("row", [*ROWS, "wikitext-2"])
def test_fair_study_plans_every_model_at_one_size(row: str) -> None:
    plan = make_plan(read_study_file(STUDIES / "fair" / f"{row}.toml"), load_plugins().registry)
    assert [cell.cell.model for cell in plan.cells] == ["tcn", "lstm", "gru", "rnn"]
    assert len({cell.facts.parameters for cell in plan.cells}) == 1
    assert len({(cell.training, cell.schedule) for cell in plan.cells}) == 1
    assert plan.cells[0].facts.task.name == row
    assert plan.left_out == ()


@pytest.mark.parametrize("row", ROWS)
def test_paper_study_plans_the_cells_with_published_settings(row: str) -> None:
    plan = make_plan(read_study_file(STUDIES / "paper" / f"{row}.toml"), load_plugins().registry)
    expected = ["tcn"] if row in {"lambada", "wikitext-103"} else ["tcn", "lstm"]
    assert [cell.cell.model for cell in plan.cells] == expected
    assert len(plan.left_out) == 4 - len(expected)
    for cell in plan.cells:
        assert str(cell.cell) == f"{row}/{cell.model.name}"
        assert cell.setting is not None
        assert cell.training.updates == cell.setting.epochs * cell.task.updates_per_epoch(cell.setting.batch_size)


# The real texts.


COUNTS: list[tuple[Language, tuple[int, int, int]]] = [
    (PtbWord(), (929_589, 73_760, 82_430)),
    (PtbChar(), (5_017_482, 393_042, 442_423)),
    (PtbChar(text="raw-eos"), (5_101_618 + 4 * 42_068, 413_262, 449_945 + 4 * 3_761)),
    (WikiText2(), (2_088_628, 217_646, 245_569)),
    (Text8(fraction=0.125), (11_250_000, 625_000, 625_000)),
]
on_real_texts = pytest.mark.parametrize(
    ("task", "counts"), COUNTS, ids=[f"{task.name}-{task.vocabulary()}" for task, _ in COUNTS]
)


@needs_data
@on_real_texts
def test_real_texts_have_the_published_counts_and_floors(task: Language, counts: tuple[int, int, int]) -> None:
    data = {split: stream(task, split, official(task)) for split in SPLITS}
    assert tuple(len(data[split]) for split in SPLITS) == counts
    assert task.training_tokens() == counts[0]
    numbers = np.bincount(data["train"].tokens.numpy(), minlength=task.vocabulary())
    assert len(numbers) == np.count_nonzero(numbers) == task.vocabulary()
    nats = -np.log((numbers + 0.5) / (numbers.sum() + task.vocabulary() / 2))
    floors: dict[Split, float | None] = {"test": task.floor(), "validation": task.validation_floor()}
    for split, floor in floors.items():
        of_split = nats[data[split].tokens.numpy()]
        if floor is not None:
            assert floor == pytest.approx(task.metric.of({"nll": (of_split.sum(), len(of_split))}), rel=1e-12)
    assert (task.floor() is None) == (task.validation_floor() is None)


def largest(cache: Path, name: str) -> str:
    """The longest list of words or characters in the cache: that of the real text."""
    texts: list[str] = [np.load(path).tobytes().decode() for path in cache.glob(f"parsed/{name}.npy")]
    return max(texts, key=len)


@needs_data
def test_real_words_begin_and_end_where_the_texts_do(cache: Path) -> None:
    for task, first in ((PtbWord(), "aer banknote berlitz"), (WikiText2(), "<eos> = Valkyria")):
        data = stream(task, "train", official(task))
        words = largest(cache, f"{task.name}-*/words").split("\n")
        assert len(words) == task.vocabulary()
        assert " ".join(words[token] for token in data.tokens[:3]) == first
        assert words[data.before] == words[data.tokens[-1]] == "<eos>"


@needs_data
def test_real_characters_can_be_read_back(cache: Path) -> None:
    data = stream(PtbChar(), "test", official(PtbChar()))
    alphabet = largest(cache, "ptb-char-mikolov-*/alphabet")
    text = "".join(alphabet[code] for code in data.tokens[:41])
    assert text == "no_it_was_n't_black_monday\nbut_while_the_"
    assert alphabet[data.before] == "\n"


@needs_data
def test_characters_made_of_the_words_are_those_of_the_distributed_character_files(cache: Path) -> None:
    names = {"train": "train", "validation": "valid", "test": "test"}
    folder = Path(os.environ[DATA]) / "ptb"
    if not all((folder / f"ptb.char.{name}.txt").exists() for name in names.values()):
        pytest.skip(f"reads ptb.char.*.txt in {folder}")
    for split in SPLITS:
        data = stream(PtbChar(), split, official(PtbChar()))
        alphabet = largest(cache, "ptb-char-mikolov-*/alphabet").encode()
        read = bytes(data.tokens.numpy()).translate(alphabet.ljust(256, b"?"))
        assert read == (folder / f"ptb.char.{names[split]}.txt").read_bytes().replace(b" ", b"")


@needs_data
def test_real_passages_have_the_counts_that_the_task_states() -> None:
    task = Lambada()
    files = {file.name: locate(file) for file in (VOCABULARY, *PASSAGES.values())}
    for split, passages, left_out in (("validation", 4_869, 249), ("test", 5_153, 153)):
        data = task.load(split, SEEDS, files)  # type: ignore[arg-type]  # the names of splits
        assert isinstance(data, Ragged)
        assert len(data) == passages - left_out
        assert int(data.inputs.max()) == UNKNOWN
        assert int(data.targets.max()) < UNKNOWN
        assert max(len(batch.targets) for batch in evaluation_batches(data, batch_size=64, device=CPU)) == 64


@needs_data
def test_scan_windows_and_one_pass_agree_on_real_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCN of receptive field 13, LSTM: 1,000 words of the Penn Treebank."""
    task = PtbWord(embedding=8)
    whole = stream(task, "test", official(task))
    data = Stream(whole.tokens[:1000], before=whole.before, scored=40, history=40)
    inputs = torch.cat([torch.tensor([whole.before]), data.tokens.long()])[:-1]
    for model in ("tcn", "lstm"):
        net = small_network(task, model).double()
        with torch.no_grad():
            nats = torch.nn.functional.cross_entropy(net.eval()(inputs[None])[0], data.tokens.long())
        monkeypatch.setattr("harness.training.evaluation.EVALUATION_TOKENS", 64)
        assert evaluate(net, task, data, CPU)["perplexity"] == pytest.approx(math.exp(float(nats)), rel=1e-9)
        if model == "tcn":
            net.backbone = Unscanned(net.backbone)
            assert evaluate(net, task, data, CPU)["perplexity"] == pytest.approx(math.exp(float(nats)), rel=1e-9)

"""Tables 2 and 3 of Bai, Kolter & Koltun 2018, the sizes that follow from them, and registration."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from harness import Bits, Classes, Model, Published, Real, Schedule, Signature, Tokens
from harness.plugin.loader import load_plugins
from harness.training.network import build_network
from harness_models.published import LSTM, TCN
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn, receptive_field

ADDING = Signature(input=Real(2), output=Real(1), length=600, readout="last")
MNIST = Signature(input=Real(1), output=Classes(10), length=784, readout="last")
COPY = Signature(input=Real(1), output=Classes(10), length=1020, readout="each")
MUSIC = Signature(input=Real(88), output=Bits(88), length=160, readout="each")


def _language(vocabulary: int, embedding: int, *, tied: bool = True) -> Signature:
    return Signature(
        input=Tokens(vocabulary, embedding), output=Classes(vocabulary), length=80, readout="each", tied=tied
    )


def _count(model: Model, signature: Signature, widths: tuple[int, ...], params: dict[str, Any]) -> int:
    """Trainable numbers of the whole network, each tensor once."""
    with torch.device("meta"):
        network = build_network(model, signature, widths, params)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _published_count(model: Model, row: str, signature: Signature) -> int:
    published = model.published(row)
    assert published is not None
    sized = signature.with_embedding(published.embedding)
    return _count(model, sized, published.widths, dict(published.params))


TCN_COUNTS = [
    ("adding-200", ADDING, 58_051),
    ("adding-400", ADDING, 67_582),
    ("adding-600", ADDING, 70_369),
    ("sequential-mnist", MNIST, 66_910),
    ("permuted-mnist", MNIST, 66_910),
    ("copy-memory-500", COPY, 10_750),
    ("copy-memory-1000", COPY, 12_530),
    ("copy-memory-2000", COPY, 14_170),
    ("jsb-chorales", MUSIC, 269_938),
    ("nottingham", MUSIC, 1_053_238),
    ("ptb-word", _language(10_000, 600), 14_659_600),
    ("lambada", _language(93_216, 500), 56_711_216),
    ("ptb-char", _language(50, 100), 2_222_100),
    ("text8", _language(27, 100), 4_129_667),
]

LSTM_COUNTS = [
    ("adding-200", ADDING, 73_074),
    ("adding-400", ADDING, 73_074),
    ("adding-600", ADDING, 69_811),
    ("sequential-mnist", MNIST, 70_470),
    ("permuted-mnist", MNIST, 70_470),
    ("copy-memory-500", COPY, 11_110),
    ("copy-memory-1000", COPY, 11_110),
    ("copy-memory-2000", COPY, 16_754),
    ("jsb-chorales", MUSIC, 571_288),
    ("nottingham", MUSIC, 1_698_008),
    ("ptb-word", _language(10_000, 700), 18_786_800),
    ("ptb-char", _language(50, 120, tied=False), 4_653_650),
    ("text8", _language(27, 120, tied=False), 4_724_931),
]


@pytest.mark.parametrize(("row", "signature", "expected"), TCN_COUNTS, ids=[row for row, *_ in TCN_COUNTS])
def test_tcn_of_table_2_has_the_size_of_the_released_network(row: str, signature: Signature, expected: int) -> None:
    assert _published_count(Tcn(), row, signature) == expected


@pytest.mark.parametrize(("row", "signature", "expected"), LSTM_COUNTS, ids=[row for row, *_ in LSTM_COUNTS])
def test_lstm_of_table_3_has_its_size(row: str, signature: Signature, expected: int) -> None:
    """Σ 4 h (in + h + 2) and the decoder."""
    assert _published_count(Lstm(), row, signature) == expected


def test_second_settings_of_the_tables_have_their_sizes() -> None:
    mnist = {"kernel_size": 6, "levels": 8, "dropout": 0.0}
    assert _count(Tcn(), MNIST, (20,) * 8, mnist) == 37_010
    assert _count(Lstm(), MUSIC, (500,), {"layers": 1, "dropout": 0.1}) == 1_224_088


def test_tcn_of_wikitext_103_is_near_132_million() -> None:
    assert _published_count(Tcn(), "wikitext-103", _language(267_735, 400)) == pytest.approx(132.1e6, rel=5e-4)


@pytest.mark.parametrize("embedding", [599, 600, 601])
def test_word_tcn_is_smallest_where_width_and_embedding_meet(embedding: int) -> None:
    """A projection appears on either side, so the count is not monotone in width: 15.35M, 14.66M, 15.41M."""
    params = {"kernel_size": 3, "levels": 4}
    expected = {599: 15_351_990, 600: 14_659_600, 601: 15_410_000}[embedding]
    actual = _count(Tcn(), _language(10_000, 600), (embedding,) * 4, params)
    assert actual == pytest.approx(expected, rel=1e-3)


EQUAL_BUDGETS = [
    # (signature, size of the published TCN, largest width that fits with 1, 2 and 3 layers of LSTM, GRU, RNN)
    ("adding-600", ADDING, 70_369, (130, 75, 58), (151, 87, 67), (262, 151, 117)),
    ("mnist", MNIST, 66_910, (126, 73, 56), (146, 84, 65), (252, 146, 113)),
    ("copy-memory-1000", COPY, 12_530, (53, 31, 24), (61, 35, 27), (105, 62, 48)),
    ("jsb-chorales", MUSIC, 269_938, (209, 132, 105), (246, 154, 122), (438, 271, 214)),
    ("nottingham", MUSIC, 1_053_238, (460, 277, 218), (535, 322, 252), (941, 563, 441)),
]


@pytest.mark.parametrize(
    ("name", "signature", "budget", "lstm", "gru", "rnn"), EQUAL_BUDGETS, ids=[name for name, *_ in EQUAL_BUDGETS]
)
def test_largest_recurrent_widths_below_the_size_of_the_tcn(
    name: str, signature: Signature, budget: int, lstm: tuple[int, ...], gru: tuple[int, ...], rnn: tuple[int, ...]
) -> None:
    for model, widths in ((Lstm(), lstm), (Gru(), gru), (Rnn(), rnn)):
        for layers, width in enumerate(widths, start=1):
            assert _count(model, signature, (width,) * layers, {"layers": layers}) <= budget
            assert _count(model, signature, (width + 1,) * layers, {"layers": layers}) > budget


TABLE_2 = [
    # row, k, n, hidden, dropout, clip
    ("adding-200", 6, 7, 27, 0.0, None),
    ("adding-400", 7, 7, 27, 0.0, None),
    ("adding-600", 8, 8, 24, 0.0, None),
    ("sequential-mnist", 7, 8, 25, 0.0, None),
    ("sequential-mnist/second", 6, 8, 20, 0.0, None),
    ("permuted-mnist", 7, 8, 25, 0.0, None),
    ("permuted-mnist/second", 6, 8, 20, 0.0, None),
    ("copy-memory-500", 6, 9, 10, 0.05, 1.0),
    ("copy-memory-1000", 8, 8, 10, 0.05, 1.0),
    ("copy-memory-2000", 8, 9, 10, 0.05, 1.0),
    ("jsb-chorales", 3, 2, 150, 0.5, 0.4),
    ("nottingham", 6, 4, 150, 0.2, 0.4),
    ("ptb-word", 3, 4, 600, 0.5, 0.4),
    ("wikitext-103", 3, 5, 1000, 0.4, 0.4),
    ("lambada", 4, 5, 500, 0.4, 0.4),
    ("ptb-char", 3, 3, 450, 0.1, 0.15),
    ("text8", 2, 5, 520, 0.1, 0.15),
]

TABLE_3 = [
    # row, layers, hidden, dropout, clip, forget bias
    ("adding-200", 2, 77, 0.0, 50.0, 5.0),
    ("adding-400", 2, 77, 0.0, 50.0, 10.0),
    ("adding-600", 1, 130, 0.0, 5.0, 1.0),
    ("sequential-mnist", 1, 130, 0.0, 1.0, 1.0),
    ("permuted-mnist", 1, 130, 0.0, 1.0, 10.0),
    ("copy-memory-500", 1, 50, 0.05, 0.25, None),
    ("copy-memory-1000", 1, 50, 0.05, 1.0, None),
    ("copy-memory-2000", 3, 28, 0.05, 1.0, None),
    ("jsb-chorales", 2, 200, 0.2, 1.0, 10.0),
    ("nottingham", 3, 280, 0.1, 0.5, None),
    ("nottingham/second", 1, 500, 0.1, 1.0, None),
    ("ptb-word", 3, 700, 0.4, 0.3, 1.0),
    ("ptb-char", 2, 600, 0.1, 0.5, None),
    ("text8", 1, 1024, 0.15, 0.5, None),
]


def _setting(model: Model, row: str) -> Published:
    published = model.published(row)
    assert published is not None
    return published


@pytest.mark.parametrize(("row", "kernel_size", "levels", "hidden", "dropout", "clip"), TABLE_2)
def test_tcn_setting_is_the_row_of_table_2(
    row: str, kernel_size: int, levels: int, hidden: int, dropout: float, clip: float | None
) -> None:
    published = _setting(Tcn(), row)
    assert published.params == {"kernel_size": kernel_size, "levels": levels, "dropout": dropout}
    assert len(published.widths) == levels
    assert set(published.widths[:-1]) == {hidden}
    assert published.widths[-1] == (hidden if "widths" not in published.assumed else published.embedding)
    assert published.optimisation.clip == clip
    assert "Table 2" in published.source


@pytest.mark.parametrize(("row", "layers", "hidden", "dropout", "clip", "forget_bias"), TABLE_3)
def test_lstm_setting_is_the_row_of_table_3(
    row: str, layers: int, hidden: int, dropout: float, clip: float, forget_bias: float | None
) -> None:
    published = _setting(Lstm(), row)
    assert published.params == {"layers": layers, "dropout": dropout, "forget_bias": forget_bias}
    assert published.widths == (hidden,) * layers
    assert published.optimisation.clip == clip
    assert ("forget_bias" in published.assumed) == (forget_bias is None)
    assert "Table 3" in published.source


def test_tables_hold_these_rows_and_no_others() -> None:
    assert set(TCN) == {row for row, *_ in TABLE_2}
    assert set(LSTM) == {row for row, *_ in TABLE_3}
    assert Tcn().published("adding-300") is None
    assert Lstm().published("lambada") is None


@pytest.mark.parametrize("model", [Gru(), Rnn()], ids=["gru", "rnn"])
def test_gru_and_rnn_have_no_published_setting(model: Model) -> None:
    assert [row for row in TCN if model.published(row) is not None] == []


RATES = [
    # model, row, optimiser, rate, whether the paper states each
    (Tcn(), "adding-600", "adam", 2e-3, True, True),
    (Tcn(), "jsb-chorales", "adam", 2e-3, True, True),
    (Tcn(), "ptb-char", "adam", 2e-3, True, True),
    (Tcn(), "copy-memory-1000", "rmsprop", 5e-4, True, True),
    (Tcn(), "ptb-word", "sgd", 4.0, True, False),
    (Lstm(), "adding-200", "sgd", 1e-3, True, True),
    (Lstm(), "adding-400", "adam", 2e-3, True, True),
    (Lstm(), "adding-600", "adam", 2e-3, False, False),
    (Lstm(), "sequential-mnist", "rmsprop", 1e-3, True, True),
    (Lstm(), "copy-memory-1000", "rmsprop", 5e-4, False, False),
    (Lstm(), "jsb-chorales", "adam", 2e-3, False, False),
    (Lstm(), "nottingham", "adam", 4e-3, True, True),
    (Lstm(), "ptb-word", "sgd", 30.0, True, True),
    (Lstm(), "text8", "adam", 1e-2, True, True),
]


@pytest.mark.parametrize(("model", "row", "optimizer", "rate", "states_optimizer", "states_rate"), RATES)
def test_optimiser_is_stated_or_marked_assumed(
    model: Model, row: str, optimizer: str, rate: float, states_optimizer: bool, states_rate: bool
) -> None:
    published = _setting(model, row)
    assert (published.optimisation.optimizer, published.optimisation.learning_rate) == (optimizer, rate)
    assert ("optimizer" not in published.assumed) == states_optimizer
    assert ("learning_rate" not in published.assumed) == states_rate


@pytest.mark.parametrize("model", [Tcn(), Lstm()], ids=["tcn", "lstm"])
@pytest.mark.parametrize("row", ["jsb-chorales", "nottingham"])
def test_music_follows_the_released_loop(model: Model, row: str) -> None:
    published = _setting(model, row)
    assert published.optimisation.reduction == "sum"
    assert published.optimisation.schedule == Schedule(kind="plateau", factor=0.1, window=3, start=10)
    assert (published.batch_size, published.epochs) == (1, 100)
    assert {"batch_size", "epochs", "reduction", "schedule"} <= published.assumed


@pytest.mark.parametrize("published", [*TCN.values(), *LSTM.values()], ids=lambda published: published.source[-30:])
def test_assumed_names_are_values_of_the_setting(published: Published) -> None:
    values = {*vars(published), *published.params, *type(published.optimisation).model_fields, "decoder_init"}
    assert published.assumed <= values
    assert "batch_size" in published.assumed


EMBEDDING_DROPOUT = {"ptb-word": 0.25, "wikitext-103": 0.25, "lambada": 0.1, "ptb-char": 0.1, "text8": 0.1}
"""Defaults of `--emb_dropout` in locuslab/TCN: word_cnn_test.py, lambada_test.py, char_cnn_test.py."""


@pytest.mark.parametrize("row", TCN)
def test_embedding_dropout_is_the_released_code_s_and_marked_assumed(row: str) -> None:
    published = TCN[row]
    assert published.embedding_dropout == EMBEDDING_DROPOUT.get(row)
    assert ("embedding_dropout" in published.assumed) == (row in EMBEDDING_DROPOUT)
    assert (published.embedding is not None) == (row in EMBEDDING_DROPOUT)


def test_tables_of_the_lstm_have_no_embedding_dropout() -> None:
    assert {published.embedding_dropout for published in LSTM.values()} == {None}


@pytest.mark.parametrize("row", TCN)
def test_decoder_s_initial_weights_are_marked_where_the_released_code_draws_them_otherwise(row: str) -> None:
    """N(0, 0.01) in model.py of adding_problem, copy_memory, word_cnn and lambada_language."""
    normal = row.startswith(("adding", "copy")) or row in {"ptb-word", "wikitext-103", "lambada"}
    assert ("decoder_init" in TCN[row].assumed) == normal


def test_decoder_of_the_character_models_begins_as_that_of_the_released_code() -> None:
    """Uniform in ±0.1 (char_cnn/model.py): PyTorch's own at 100 features."""
    for row in ("ptb-char", "text8"):
        embedding = TCN[row].embedding
        assert embedding is not None
        weight = nn.Linear(embedding, 50).weight
        assert 0.098 < float(weight.detach().abs().max()) <= 0.1


@pytest.mark.parametrize("row", [row for row, *_ in TABLE_2 if row.split("-")[0] in {"adding", "copy"}])
def test_published_tcn_sees_its_whole_task(row: str) -> None:
    """adding: the whole sequence; copy memory: the recall lag of T + 10 and the present step."""
    length = int(row.split("-")[-1])
    params = _setting(Tcn(), row).params
    needed = length if row.startswith("adding") else length + 11
    signature = replace(ADDING, dependency=needed)
    assert Tcn().unsupported(signature, **params) is None
    assert receptive_field(6, 7) == 1271


def test_distribution_registers_four_models() -> None:
    registry = load_plugins().registry
    mine = {name for name, entry in registry.models.items() if entry.plugin.name == "seqharness-models"}
    assert mine == {"tcn", "lstm", "gru", "rnn"}


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, harness_models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

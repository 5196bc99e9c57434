"""Tables 2 and 3 of Bai, Kolter & Koltun 2018 (arXiv:1803.01271): row of a task → its setting.

A value that the paper does not state is the default of the released code (locuslab/TCN at 2f8c2b8) and is named in
`assumed`.  The released code clips before the backward pass (copy memory, music), which has no effect; the values of
the tables are used.  The paper has no settings for GRU and RNN.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from harness import Optimisation, Published, Schedule

_TABLE_2 = "Bai, Kolter & Koltun 2018, arXiv:1803.01271, Table 2"
_TABLE_3 = "Bai, Kolter & Koltun 2018, arXiv:1803.01271, Table 3"

_ADAM = {"optimizer": "adam", "learning_rate": 2e-3}
"""Table 2: "Adam, learning rate 0.002, unless otherwise noted"."""
_RMSPROP = {"optimizer": "rmsprop", "learning_rate": 5e-4}

_MUSIC = Schedule(kind="plateau", factor=0.1, window=3, start=10)
_CHARACTERS = Schedule(kind="plateau", factor=0.1, window=3, start=5)
_WORDS = Schedule(kind="plateau", factor=0.5, window=5, start=5)
"""Section 5.3: SGD, its rate halved when validation accuracy plateaus; window and start are the released code's."""

_LENGTH = {"batch_size", "epochs"}
_LOOP = {*_LENGTH, "schedule"}
_MUSIC_LOOP = {*_LOOP, "reduction"}
_OPTIMIZER = {"optimizer", "learning_rate"}
_DECODER = {"decoder_init"}
"""The scripts adding_problem, copy_memory, word_cnn and lambada_language of the released code draw the decoder's
weights from a normal distribution of standard deviation 0.01.  Here PyTorch draws them, uniform in ±1/√(in features).
char_cnn draws them uniformly in ±0.1, which is the same at its 100 features; the scripts of music and MNIST use
PyTorch's values too."""
_LANGUAGE = {*_LENGTH, "embedding_dropout"}
"""Embedding dropout is the default of `--emb_dropout` in word_cnn (0.25), char_cnn and lambada_language (0.1)."""


def _setting(source: str, widths: tuple[int, ...], params: Mapping[str, Any], **rest: Any) -> Published:
    """Return a published setting.  Its values have the several types of the fields of `Published`, hence Any."""
    optimisation, assumed = Optimisation(**rest.pop("optimisation")), frozenset(rest.pop("assumed"))
    return Published(
        source=source, widths=widths, params=dict(params), optimisation=optimisation, assumed=assumed, **rest
    )


def _tcn(row: str, kernel_size: int, widths: tuple[int, ...], dropout: float, **rest: Any) -> Published:
    """Return a setting of Table 2."""
    params = {"kernel_size": kernel_size, "levels": len(widths), "dropout": dropout}
    return _setting(f"{_TABLE_2}, {row}", widths, params, **rest)


def _lstm(row: str, widths: tuple[int, ...], dropout: float, forget_bias: float | None, **rest: Any) -> Published:
    """Return a setting of Table 3; a `forget_bias` of None means that the table has a dash."""
    params = {"layers": len(widths), "dropout": dropout, "forget_bias": forget_bias}
    assumed = rest.pop("assumed") | (set() if forget_bias is not None else {"forget_bias"})
    return _setting(f"{_TABLE_3}, {row}", widths, params, assumed=assumed, **rest)


_ADDING = {"batch_size": 32, "epochs": 10, "assumed": _LOOP}
_TCN_ADDING = {**_ADDING, "assumed": {*_LOOP, *_DECODER}}
_MNIST = {"batch_size": 64, "epochs": 10, "assumed": {"batch_size", "schedule"}}
"""Figure 3 shows 10 epochs; the released code first lowers its learning rate after the tenth."""
_COPY = {"batch_size": 32, "epochs": 50, "assumed": _LOOP}
_TCN_COPY = {**_COPY, "assumed": {*_LOOP, *_DECODER}}
_TUNES = {"batch_size": 1, "epochs": 100}
_TUNE_LOSS = {"schedule": _MUSIC, "reduction": "sum"}

TCN: Mapping[str, Published] = MappingProxyType(
    {
        "adding-200": _tcn("adding problem, T=200", 6, (27,) * 7, 0.0, optimisation=_ADAM, **_TCN_ADDING),
        "adding-400": _tcn("adding problem, T=400", 7, (27,) * 7, 0.0, optimisation=_ADAM, **_TCN_ADDING),
        "adding-600": _tcn("adding problem, T=600", 8, (24,) * 8, 0.0, optimisation=_ADAM, **_TCN_ADDING),
        "sequential-mnist": _tcn("sequential MNIST, first", 7, (25,) * 8, 0.0, optimisation=_ADAM, **_MNIST),
        "sequential-mnist/second": _tcn("sequential MNIST, second", 6, (20,) * 8, 0.0, optimisation=_ADAM, **_MNIST),
        "permuted-mnist": _tcn("permuted MNIST, first", 7, (25,) * 8, 0.0, optimisation=_ADAM, **_MNIST),
        "permuted-mnist/second": _tcn("permuted MNIST, second", 6, (20,) * 8, 0.0, optimisation=_ADAM, **_MNIST),
        "copy-memory-500": _tcn(
            "copy memory, T=500", 6, (10,) * 9, 0.05, optimisation={**_RMSPROP, "clip": 1.0}, **_TCN_COPY
        ),
        "copy-memory-1000": _tcn(
            "copy memory, T=1000", 8, (10,) * 8, 0.05, optimisation={**_RMSPROP, "clip": 1.0}, **_TCN_COPY
        ),
        "copy-memory-2000": _tcn(
            "copy memory, T=2000", 8, (10,) * 9, 0.05, optimisation={**_RMSPROP, "clip": 1.0}, **_TCN_COPY
        ),
        "jsb-chorales": _tcn(
            "JSB Chorales",
            3,
            (150,) * 2,
            0.5,
            optimisation={**_ADAM, "clip": 0.4, **_TUNE_LOSS},
            assumed=_MUSIC_LOOP,
            **_TUNES,
        ),
        "nottingham": _tcn(
            "Nottingham",
            6,
            (150,) * 4,
            0.2,
            optimisation={**_ADAM, "clip": 0.4, **_TUNE_LOSS},
            assumed=_MUSIC_LOOP,
            **_TUNES,
        ),
        "ptb-word": _tcn(
            "word-level PTB",
            3,
            (600,) * 4,
            0.5,
            optimisation={"optimizer": "sgd", "learning_rate": 4.0, "clip": 0.4, "schedule": _WORDS},
            batch_size=16,
            epochs=100,
            embedding=600,
            embedding_dropout=0.25,
            assumed={*_LANGUAGE, *_DECODER, "learning_rate", "schedule"},
        ),
        # The last level is as wide as the embedding in the released code's language models.
        "wikitext-103": _tcn(
            "WikiText-103",
            3,
            (1000,) * 4 + (400,),
            0.4,
            optimisation={"optimizer": "sgd", "learning_rate": 4.0, "clip": 0.4, "schedule": _WORDS},
            batch_size=16,
            epochs=100,
            embedding=400,
            embedding_dropout=0.25,
            assumed={*_LANGUAGE, *_DECODER, "learning_rate", "schedule", "widths"},
        ),
        "lambada": _tcn(
            "LAMBADA",
            4,
            (500,) * 5,
            0.4,
            optimisation={"optimizer": "sgd", "learning_rate": 4.0, "clip": 0.4, "schedule": _WORDS},
            batch_size=20,
            epochs=100,
            embedding=500,
            embedding_dropout=0.1,
            assumed={*_LANGUAGE, *_DECODER, "learning_rate", "schedule"},
        ),
        # Table 2's general Adam applies, as the row notes nothing else; the default of the released script is SGD at 4.
        "ptb-char": _tcn(
            "character-level PTB",
            3,
            (450, 450, 100),
            0.1,
            optimisation={**_ADAM, "clip": 0.15, "schedule": _CHARACTERS},
            batch_size=32,
            epochs=100,
            embedding=100,
            embedding_dropout=0.1,
            assumed={*_LANGUAGE, "schedule", "widths"},
        ),
        "text8": _tcn(
            "text8",
            2,
            (520,) * 4 + (100,),
            0.1,
            optimisation={**_ADAM, "clip": 0.15, "schedule": _CHARACTERS},
            batch_size=32,
            epochs=100,
            embedding=100,
            embedding_dropout=0.1,
            assumed={*_LANGUAGE, "schedule", "widths"},
        ),
    }
)

_LSTM_RMSPROP = {"optimizer": "rmsprop", "learning_rate": 1e-3}
_EITHER = {**_COPY, "assumed": {*_LOOP, *_OPTIMIZER}}
"""Copy memory has "RMSprop/Adam" without a rate: here it is the TCN's RMSprop at 5e-4."""

LSTM: Mapping[str, Published] = MappingProxyType(
    {
        "adding-200": _lstm(
            "adding problem, T=200",
            (77,) * 2,
            0.0,
            5.0,
            optimisation={"optimizer": "sgd", "learning_rate": 1e-3, "clip": 50.0},
            **_ADDING,
        ),
        "adding-400": _lstm(
            "adding problem, T=400", (77,) * 2, 0.0, 10.0, optimisation={**_ADAM, "clip": 50.0}, **_ADDING
        ),
        # No optimiser is stated: here it is the general Adam of Table 2.
        "adding-600": _lstm(
            "adding problem, T=600",
            (130,),
            0.0,
            1.0,
            optimisation={**_ADAM, "clip": 5.0},
            **{**_ADDING, "assumed": {*_LOOP, *_OPTIMIZER}},
        ),
        "sequential-mnist": _lstm(
            "sequential MNIST", (130,), 0.0, 1.0, optimisation={**_LSTM_RMSPROP, "clip": 1.0}, **_MNIST
        ),
        "permuted-mnist": _lstm(
            "permuted MNIST", (130,), 0.0, 10.0, optimisation={**_LSTM_RMSPROP, "clip": 1.0}, **_MNIST
        ),
        "copy-memory-500": _lstm(
            "copy memory, T=500", (50,), 0.05, None, optimisation={**_RMSPROP, "clip": 0.25}, **_EITHER
        ),
        "copy-memory-1000": _lstm(
            "copy memory, T=1000", (50,), 0.05, None, optimisation={**_RMSPROP, "clip": 1.0}, **_EITHER
        ),
        "copy-memory-2000": _lstm(
            "copy memory, T=2000", (28,) * 3, 0.05, None, optimisation={**_RMSPROP, "clip": 1.0}, **_EITHER
        ),
        # The table has "SGD/Adam" without a rate: here it is the general Adam of Table 2.
        "jsb-chorales": _lstm(
            "JSB Chorales",
            (200,) * 2,
            0.2,
            10.0,
            optimisation={**_ADAM, "clip": 1.0, **_TUNE_LOSS},
            assumed={*_MUSIC_LOOP, *_OPTIMIZER},
            **_TUNES,
        ),
        "nottingham": _lstm(
            "Nottingham, first",
            (280,) * 3,
            0.1,
            None,
            optimisation={"optimizer": "adam", "learning_rate": 4e-3, "clip": 0.5, **_TUNE_LOSS},
            assumed=_MUSIC_LOOP,
            **_TUNES,
        ),
        "nottingham/second": _lstm(
            "Nottingham, second",
            (500,),
            0.1,
            None,
            optimisation={"optimizer": "adam", "learning_rate": 4e-3, "clip": 1.0, **_TUNE_LOSS},
            assumed=_MUSIC_LOOP,
            **_TUNES,
        ),
        "ptb-word": _lstm(
            "word-level PTB",
            (700,) * 3,
            0.4,
            1.0,
            optimisation={"optimizer": "sgd", "learning_rate": 30.0, "clip": 0.3, "schedule": _WORDS},
            batch_size=16,
            epochs=100,
            embedding=700,
            assumed={*_LENGTH, "schedule"},
        ),
        # No optimiser is stated: here it is the general Adam of Table 2.  The paper ties only words, so this is untied.
        "ptb-char": _lstm(
            "character-level PTB",
            (600,) * 2,
            0.1,
            None,
            optimisation={**_ADAM, "clip": 0.5, "schedule": _CHARACTERS},
            batch_size=32,
            epochs=100,
            embedding=120,
            tied=False,
            assumed={*_LOOP, *_OPTIMIZER, "tied"},
        ),
        # No embedding is stated: here it is that of character-level PTB.
        "text8": _lstm(
            "text8",
            (1024,),
            0.15,
            None,
            optimisation={"optimizer": "adam", "learning_rate": 1e-2, "clip": 0.5, "schedule": _CHARACTERS},
            batch_size=32,
            epochs=100,
            embedding=120,
            tied=False,
            assumed={*_LOOP, "embedding", "tied"},
        ),
    }
)

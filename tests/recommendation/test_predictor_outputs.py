"""Outputs of a loaded model for new sequences: in the order in which they were given."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from harness.api.dataset import Ragged
from harness.api.task import Task
from harness.recommendation.predictor import Winner
from harness.recommendation.saved_winner import SavedWinner
from harness.training.network import build_network
from tests.support.toys import ToyEma, ToyRagged, ToySum

LENGTHS = (6, 3, 5, 3, 4)


@pytest.mark.parametrize("task", [ToySum(), ToyRagged()], ids=["one-answer-each", "an-answer-at-each-step"])
def test_outputs_of_sequences_of_different_lengths_keep_their_order(task: Task) -> None:
    signature = task.signature()
    torch.manual_seed(0)
    network = build_network(ToyEma(), signature, (8,), {"bias": True, "dropout": 0.0}).eval()
    pieces = [torch.rand(length, signature.in_features) for length in LENGTHS]
    last = signature.readout == "last"
    answers = len(LENGTHS) if last else sum(LENGTHS)
    data = Ragged(torch.cat(pieces), torch.zeros(answers, signature.out_features), torch.tensor(LENGTHS), last=last)
    winner = Winner(network, task, cast("SavedWinner", None))  # which raw outputs do not need
    with torch.no_grad():
        alone = [network.last(piece[None]) if last else network(piece[None])[0] for piece in pieces]
    assert torch.allclose(winner.outputs(data), torch.cat(alone), atol=1e-6)

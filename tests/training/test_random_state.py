"""Global random state: what a trial does to it ends with the trial."""

from __future__ import annotations

import random

import numpy as np
import torch

from harness.training.random_state import fork_random_state, seed_everything, seeded_random_state

CPU = torch.device("cpu")


def test_a_seed_decides_what_all_three_generators_draw() -> None:
    draws = []
    for _ in range(2):
        seed_everything(2**40 + 3)  # NumPy takes seeds below 2**32 only
        draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()))
    assert draws[0] == draws[1]
    seed_everything(2**40 + 4)
    assert torch.rand(3).tolist() != draws[0][0]


def test_seeded_state_is_that_of_manual_seed_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    state = seeded_random_state(7, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state["cpu"])
    drawn = torch.rand(4)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(4))


def test_draws_within_a_fork_do_not_move_the_state_outside() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with fork_random_state(CPU):
        torch.manual_seed(99)
        torch.rand(1000)
    assert torch.equal(torch.rand(2), expected)

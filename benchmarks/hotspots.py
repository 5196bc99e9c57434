"""Print the operators that take the largest shares of a training step, measured by PyTorch's profiler.

    python benchmarks/hotspots.py [WORK ...] [--models tcn,lstm] [--top 6]

It uses one thread.  Shares are of the operators' own wall time, so other load on the machine distorts them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

import works
from works import HarnessStep, Work

WORKS: Mapping[str, Callable[[], Work]] = {
    "adding": works.adding,
    "copy": works.copy_memory,
    "jsb-16": partial(works.music, "jsb", 16, 3),
    "word": works.word,
    "char": works.char,
}
"""One of each kind: last step, each step, ragged, words, characters."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all unless given")
    parser.add_argument("--models", default="tcn,lstm")
    parser.add_argument("--top", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| work | model | shares of a step |\n| :-- | :-- | :-- |")
    for name in arguments.works or WORKS:
        for model in arguments.models.split(","):
            print(f"| {name} | {model} | {shares(WORKS[name](), model, arguments.top)} |", flush=True)
    return 0


def shares(work: Work, model: str, top: int) -> str:
    """Return the shares of the `top` operators, and of all others together."""
    step = HarnessStep(work.network(model), work.task, work.optimisation)
    step(work.batches[0])
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for batch in work.batches:
            step(batch)
    events = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    largest = [f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in events[:top]]
    return ", ".join([*largest, f"others {sum(event.self_cpu_time_total for event in events[top:]) / total:.0%}"])


if __name__ == "__main__":
    raise SystemExit(main())

"""What a worker that trains on WikiText-2 holds in memory, by the system's own count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data.files import CACHE, DATA, locate
from harness.seeds import Seeds
from harness_tasks import WikiText2

RAW_BYTES = 4 * (2_088_628 + 217_646 + 245_569)
"""Of the three splits as they are stored: int32."""
PAGE_SLACK = 2**20
"""What an allocator may take beside."""

needs_data = pytest.mark.skipif(DATA not in os.environ, reason=f"reads WikiText-2 below {DATA}")
needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the memory of a process")

# A first training, on a few made tokens, has the peak of torch and the model; what comes beyond it is of the data.
WORKER = """
import re, sys
from pathlib import Path
import torch
from harness import Optimisation, Seeds, Stream
from harness.training.batches import StreamBatches, training_batches
from harness.data.files import locate
from harness.api.dataset import sample
from harness.training.network import build_network
from harness.plugin.loader import load_plugins
from harness.records import Training
from harness.training.run import TrainingData, TrainingRun
from harness_tasks import WikiText2

task, seeds, cpu = WikiText2(embedding=8), Seeds.of(0, 0), torch.device("cpu")
torch.set_num_threads(1)

def kibibytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def train(train, validation):
    model = load_plugins().registry.model("lstm").value
    network = build_network(model, task.signature(), (8,), {"layers": 1})
    run = TrainingRun(
        network, task, training=Training(updates=3, batch_size=16, evaluate_every=3),
        optimisation=Optimisation(learning_rate=1e-3), data=TrainingData(train, sample(validation, 20, 0)), seeds=seeds,
    )
    run.advance(1e9)
    assert run.outcome == "complete"

def iterate(data):
    for batch in StreamBatches(data, rows=16, scored=40, history=None, device=cpu):
        pass

small = Stream(torch.zeros(20_000, dtype=torch.int32), before=0, scored=40, history=None, rows=10)
train(small, small)
iterate(small)
before = kibibytes("VmHWM")
splits = [task.load(split, seeds, {file.name: locate(file) for file in task.files()})
          for split in ("train", "validation", "test")]
train(*splits[:2])
for data in splits:
    iterate(data)
growth = 1024 * (kibibytes("VmHWM") - before)
print(growth, flush=True)
input()
maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
ours = [entry for entry in maps if "/parsed/wikitext-2-" in entry and "words" not in entry]
print(sum(1024 * int(re.search(r"Pss: +(\\d+) kB", entry)[1]) for entry in ours), flush=True)
input()
"""


@pytest.mark.slow
@needs_data
@needs_proc
def test_two_workers_hold_the_texts_once_and_little_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each through an epoch of all three splits.  Pss counts a page that n processes map as 1/n of it."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    task = WikiText2()
    task.load("train", Seeds.of(0, 0), {file.name: locate(file) for file in task.files()})  # parsed before either
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    growths = [_answer(worker) for worker in workers]
    held = [_answer(worker, ask=True) for worker in workers]
    for worker in workers:
        worker.communicate("\n", timeout=60)
    # From below too, so that it is seen to measure the data; an allocator's own peak differs by a megabyte.
    assert all(0.8 * RAW_BYTES < growth < 1.5 * RAW_BYTES for growth in growths), growths
    assert RAW_BYTES < sum(held) < RAW_BYTES + PAGE_SLACK


def _answer(worker: subprocess.Popen[str], *, ask: bool = False) -> int:
    assert worker.stdin is not None
    assert worker.stdout is not None
    if ask:
        worker.stdin.write("\n")
        worker.stdin.flush()
    return int(worker.stdout.readline())

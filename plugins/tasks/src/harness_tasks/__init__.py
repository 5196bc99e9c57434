"""The tasks of Bai, Kolter & Koltun 2018 (arXiv:1803.01271) on synthetic sequences, pixels and polyphonic music."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from harness_tasks.adding import Adding
from harness_tasks.copy_memory import CopyMemory
from harness_tasks.music import JsbChorales, Nottingham
from harness_tasks.pixel_mnist import PermutedMnist, SequentialMnist

__all__ = ["Adding", "CopyMemory", "JsbChorales", "Nottingham", "PermutedMnist", "SequentialMnist"]


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    for task in (Adding, CopyMemory, JsbChorales, Nottingham, PermutedMnist, SequentialMnist):
        register(task)

"""The tasks of Bai, Kolter & Koltun 2018 (arXiv:1803.01271): synthetic sequences, pixels, music and language;
and tasks on a user's own files."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from harness_tasks.adding import Adding
from harness_tasks.copy_memory import CopyMemory
from harness_tasks.frame_floor import frame_floors
from harness_tasks.lambada import Lambada
from harness_tasks.music import JsbChorales, Nottingham, PianoRolls
from harness_tasks.own.arrays import OwnArrays
from harness_tasks.own.text_file import TextFile
from harness_tasks.penn_treebank import PtbChar, PtbWord
from harness_tasks.pixel_mnist import PermutedMnist, SequentialMnist
from harness_tasks.text8 import Text8
from harness_tasks.wikitext import WikiText2, WikiText103

TASKS: tuple[type[Task], ...] = (
    Adding,
    CopyMemory,
    JsbChorales,
    Lambada,
    Nottingham,
    PermutedMnist,
    PtbChar,
    PtbWord,
    SequentialMnist,
    Text8,
    WikiText2,
    WikiText103,
)
"""Tasks with their own data, usable without options."""
OWN: tuple[type[Task], ...] = (OwnArrays, TextFile)
"""Tasks on a user's file; each needs the path of the file."""

__all__ = [
    "OWN",
    "TASKS",
    "Adding",
    "CopyMemory",
    "JsbChorales",
    "Lambada",
    "Nottingham",
    "OwnArrays",
    "PermutedMnist",
    "PianoRolls",
    "PtbChar",
    "PtbWord",
    "SequentialMnist",
    "Text8",
    "TextFile",
    "WikiText2",
    "WikiText103",
    "frame_floors",
]


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    for task in (*TASKS, *OWN):
        register(task)

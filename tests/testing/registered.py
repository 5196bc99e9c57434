"""A plugin whose task has one planted defect."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from tests.testing.planted_tasks import OtherEpoch


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(OtherEpoch)

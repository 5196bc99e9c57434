"""MLflow's system metrics of the driver's machine, with the run of the study."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mlflow import environment_variables
from mlflow.system_metrics import system_metrics_monitor

from harness.tracking.store_errors import as_tracking_error

_Monitor: Any = system_metrics_monitor.SystemMetricsMonitor
_enabled: Any = environment_variables.MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING


def start_system_metrics(uri: str, run_id: str) -> Callable[[], object] | None:
    """Start a thread that logs CPU, memory, disk, network and GPUs to a running run, every ten seconds.

    Return the function that stops it.  Return None unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true, to which
    `mlflow.enable_system_metrics_logging` sets it.  The curves of a resumed study go on.  For GPUs MLflow needs the
    package nvidia-ml-py.  Raises TrackingError if the store fails.
    """
    if not _enabled.get():
        return None
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it announces its start and its end
    with as_tracking_error(uri):  # it reads how far the curves are
        monitor = _Monitor(run_id, resume_logging=True, tracking_uri=uri)
    monitor.start()
    stop: Callable[[], object] = monitor.finish
    return stop

"""The ledger mirrored into MLflow as runs, metrics, tags and artifacts, and read back."""

import os

DEFAULT_TIMEOUT = "30"
"""Seconds that a request to a server may take."""

# MLflow reads these when it is imported, and `mlflow ui` inherits them.
os.environ.update(
    {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": DEFAULT_TIMEOUT,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    | os.environ
)

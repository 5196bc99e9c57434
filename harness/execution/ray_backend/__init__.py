"""Trials on Ray Tune, on this machine or a cluster.  No other package imports Ray.

Ray reads its environment variables when it is imported.  So they are set here, before a module below imports it.
"""

import os
import sys
from pathlib import Path

os.environ.update(
    # No usage reports, no tables on the terminal, and no CSV and TensorBoard files per trial, which double the cost of
    # a trial.  The harness handles Ctrl-C.
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AIR_NEW_OUTPUT="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    # Without its GCS server, Ray ends the driver after this time with a message of its own.  `watch.py` is faster.
    RAY_gcs_rpc_server_reconnect_timeout_s="600",
    # A request to a GCS server that has ended blocks the driver for this time, also against signals.
    RAY_gcs_server_request_timeout_seconds="20",
)
# Ray's default raises the niceness of workers by 15: a study under `nice` would starve.
os.environ.setdefault("RAY_worker_niceness", "0")

if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").exists():
    # `ray start` requires the token in this file; a client with an address sends it only in this mode.  A Ray that is
    # imported already has read its mode: then the variable would reach only its server, which refuses the client.
    os.environ["RAY_AUTH_MODE"] = "token"

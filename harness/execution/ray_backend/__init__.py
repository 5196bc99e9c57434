"""Trials on Ray Tune, on this machine or a cluster: the only package that imports Ray.

Ray reads its environment variables when it is imported, so they are set here, before any module below imports it.
"""

import os
from pathlib import Path

os.environ.update(
    # No usage reports, no tables on the terminal, no CSV and TensorBoard files per trial (they double the cost of a
    # trial); Ctrl-C is handled by the harness.
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AIR_NEW_OUTPUT="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
)

if "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").exists():
    # `ray start` requires the token that it finds; a client with an address sends it only in this mode.
    os.environ["RAY_AUTH_MODE"] = "token"

"""The ledger mirrored into MLflow as runs, metrics, tags and artifacts, and read back."""

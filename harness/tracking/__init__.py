"""The ledger mirrored into MLflow, and read back."""

"""The append-only record of trials, its lease, and model selection."""

"""The append-only record of a study's trials, the lease of its folder, and model selection."""

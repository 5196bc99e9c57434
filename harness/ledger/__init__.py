"""The ledger: the append-only record of a study's trials, its lease, and the selection of winners."""

"""Run a study's trials, in this process or on Ray, and retry after failures."""

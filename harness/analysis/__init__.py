"""Statistics of finished trials: cell results, comparisons and audits."""

"""Named data files → verified local paths."""

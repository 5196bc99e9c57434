"""Data files: verified local paths, downloads and cached arrays."""

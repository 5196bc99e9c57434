"""Tasks on a user's own files.

A file becomes a table (`csv_file`, `numpy_file`, `wide`), its rows become sequences and splits (`rows`, `sources`).
These are encoded (`encoding`, `inputs`, `targets`), cached, and read as tensors by `arrays.OwnArrays.load`.
"""

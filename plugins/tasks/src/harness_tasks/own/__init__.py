"""Tasks on a user's own files."""

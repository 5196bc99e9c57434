"""Which trial comes next: ask and tell, without files or workers."""

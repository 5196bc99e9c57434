"""Choose the next trial: ask and tell, without files or workers."""

"""One network trained once, or several vectorized."""

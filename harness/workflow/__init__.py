"""Studies and recommendations from start to end, as Python and the command line use them."""

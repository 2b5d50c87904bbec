"""A running base with a delta, and what is measured on it; torch lives in `torch_engine` alone."""

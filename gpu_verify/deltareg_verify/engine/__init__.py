"""A running base with a delta, and the measures taken on it; torch lives in `torch_engine` alone."""

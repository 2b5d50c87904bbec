"""Fresh deltas: made here and now by the installed libraries, whose own outputs are the oracle."""

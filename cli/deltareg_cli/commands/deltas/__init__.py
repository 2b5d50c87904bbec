"""Commands for deltas and their versions."""

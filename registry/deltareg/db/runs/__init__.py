"""The queue of runs, their logs and results, and the workers that take them."""

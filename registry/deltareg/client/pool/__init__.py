"""Pools: workers that an engine such as Slurm or Ray starts by the length of the queue, and that stop when idle."""

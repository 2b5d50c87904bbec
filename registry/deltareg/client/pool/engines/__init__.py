"""The engines of pools, one file each."""

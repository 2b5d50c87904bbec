"""Upkeep of the whole registry: collection, fsck, accounting."""

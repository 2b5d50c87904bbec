"""Drafts a suite from a user's data: the files that are read and written for it."""

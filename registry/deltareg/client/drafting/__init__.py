"""Drafting a suite from somebody's data: the files that are read and written for it."""

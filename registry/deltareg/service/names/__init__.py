"""Renaming, moving and deleting lines, channels and namespaces; the former names lead on."""

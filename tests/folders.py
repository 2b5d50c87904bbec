"""Folders read into what kinds look at: what `deltareg.testing` ships, under a shorter name."""

from deltareg.testing.folders import Folder, open_base, open_folder, read_file

__all__ = ["Folder", "open_base", "open_folder", "read_file"]

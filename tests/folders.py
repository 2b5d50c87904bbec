"""Folders read into what kinds look at: what `deltareg.testing` ships, under a shorter name."""

from deltareg.testing.folders import SampleFolder, open_base, open_folder, read_file

__all__ = ["SampleFolder", "open_base", "open_folder", "read_file"]

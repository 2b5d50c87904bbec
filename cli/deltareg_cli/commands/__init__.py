"""The commands, one file a command or group, found by looking into this folder.

A file has the name of its command and says by `PLACE` where that stands on the first page. A file
without one holds commands of a group.
"""

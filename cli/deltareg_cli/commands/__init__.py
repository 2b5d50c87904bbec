"""The commands, one file a command or group, found by looking into the folders here.

A folder is a section of the first page (`tree.front_page.SECTIONS`). A file has the name of its
command and says by `ORDER` where that stands in its section. A file without one holds commands of
a group.
"""

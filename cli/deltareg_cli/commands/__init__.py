"""The commands, one file a command or group, found by looking into the folders here.

Each folder is a section of the first page (`tree.front_page.SECTIONS`). A file has the name of its
command; its `ORDER` says where it stands in the section. A file without `ORDER` holds commands of a
group.
"""

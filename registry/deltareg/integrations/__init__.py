"""What other programs load to reach a registry; each module is named for the library it serves.

A module imports its library when it is imported itself, and nothing here imports any of them.
"""

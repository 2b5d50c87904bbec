"""What other programs run of the registry, each in its own terms: one module a library.

A module imports its library when it is imported itself, and nothing here imports any of them.
"""

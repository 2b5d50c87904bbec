"""What other programs load to reach a registry; each module is named for the library it serves.

A module imports its library and the client, and nothing else of this package asks for it.
"""

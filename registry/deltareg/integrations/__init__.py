"""Modules for other programs that reach a registry, each named after the library it serves.

A module imports its library when it is imported, and nothing here imports any of these modules.
"""

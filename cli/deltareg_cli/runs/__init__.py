"""Processes and runs that a command starts, waits for and shows."""

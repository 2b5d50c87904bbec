"""Formulas over weights, and their arrays: NumPy and bare shapes here, torch in the worker."""

"""Formulas over weights, and what they run on: NumPy and bare shapes; torch is the worker's."""

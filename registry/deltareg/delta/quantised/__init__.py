"""Bases with packed weights: their scheme, the weights that they stand for, and the values.

One file each for the config (`scheme`), the headers (`packed`), whether one base is a packed form
of another (`fit`), and the values (`values`).
"""

"""Bases with packed weights: which scheme, which weights they stand for, and their numbers.

A file each for what a config says (`scheme`), what the headers say (`packed`), whether the one is a
form of another base (`fit`), and the numbers (`values`).
"""

"""Seeded inputs of networks of transformers, one module for each kind of input.

What a network takes follows from the parameters of its forward, and the shapes from its config, as the
class's processor derives them. A rule stands here once for all classes that share it.
"""

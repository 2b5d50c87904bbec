"""Reads torch's archives of tensors (`.bin`, `.pt`) without torch; nothing in them is executed.

A pickle is a program for a stack machine. The one here knows the few instructions that a dictionary
of tensors needs, and a handful of names, none of which it imports: they stand for values of its
own. Everything else is refused by name. Only `deltareg convert` uses it.
"""

from deltareg.client.convert.torch_archive.archive import read_archive

__all__ = ["read_archive"]

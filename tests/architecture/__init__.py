"""Tests of the shape of the project: imports, sizes, names, layers, generated pages."""

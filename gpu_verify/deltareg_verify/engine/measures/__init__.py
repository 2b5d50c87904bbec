"""Measures of a network on samples, one value a sample; comparisons build on these."""

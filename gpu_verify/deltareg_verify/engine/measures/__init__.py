"""Measures of a network on samples, one value a sample; what is compared comes from these."""

"""Quotas: limits, and what counts against them."""

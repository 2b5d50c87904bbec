"""Channels: their policies, the gate, and every move."""

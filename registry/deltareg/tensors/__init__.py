"""Tensors as bytes: the strict safetensors header, and NumPy views of the data after it."""

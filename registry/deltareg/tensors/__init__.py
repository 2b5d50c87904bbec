"""Tensors as bytes: the strict safetensors header, and NumPy views of what follows it."""

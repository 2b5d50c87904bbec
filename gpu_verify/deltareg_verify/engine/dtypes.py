"""The suite's names of tolerances, by the dtype that a base runs in."""

TOLERANCES = {"F32": "f32", "F64": "f32", "BF16": "bf16", "F16": "f16"}
RUN_IN = {"f32": "F32", "bf16": "BF16", "f16": "F16"}
"""What a suite may ask that a base runs in, as safetensors spells it."""

"""Names of tolerances in a suite, by the dtype that a base runs in."""

TOLERANCES = {"F32": "f32", "F64": "f32", "BF16": "bf16", "F16": "f16"}

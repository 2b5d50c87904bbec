"""Chooses which version of the inner loops runs."""

import os
from functools import cache

from deltareg.codec.kernel import Kernel
from deltareg.codec.native_kernel import load
from deltareg.codec.numpy_kernel import NumPyKernel


@cache
def kernel() -> Kernel:
    """Return the native version if it was built, unless `DELTAREG_KERNEL=numpy` is set."""
    native = None if os.environ.get("DELTAREG_KERNEL") == "numpy" else load()
    return NumPyKernel() if native is None else native

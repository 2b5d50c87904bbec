"""A tensor held in memory, read like one in a file."""

import math

import numpy as np

from deltareg.tensors.array import from_f32

_NAMES = {"f4": "F32", "f8": "F64", "f2": "F16", "i8": "I64", "i4": "I32"}


class Held:
    """An array as a stored tensor; `dtype` rounds float32 values first."""

    def __init__(self, name, array, *, dtype=""):
        self.name = name
        self.array = np.asarray(array)
        if self.array.dtype == np.float64:
            self.array = self.array.astype(np.float32)
        self.dtype = dtype or _NAMES[self.array.dtype.str[1:]]
        stored = from_f32(self.array, dtype) if dtype else self.array
        self._data = memoryview(np.ascontiguousarray(stored).tobytes())

    @property
    def shape(self):
        return self.array.shape

    def read(self, start=0, stop=None):
        if not self.shape:
            return self._data
        row = math.prod(self.shape[1:]) * (len(self._data) // max(1, self.array.size))
        stop = self.shape[0] if stop is None else stop
        return self._data[start * row : stop * row]

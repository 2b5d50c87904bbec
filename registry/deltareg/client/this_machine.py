"""What the client uses of this machine, for people who wonder why it is fast or slow."""

from deltareg.codec.kernels import kernel


def codec_kernel() -> str:
    """Return the implementation of the codec's inner loops in use: `native` or `numpy`."""
    return kernel().name

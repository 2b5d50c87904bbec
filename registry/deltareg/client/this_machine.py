"""What of this machine the client works with, for people who ask why it is fast or slow."""

from deltareg.codec.kernels import kernel


def codec_kernel() -> str:
    """Name the side of the codec's inner loops that runs: `native` or `numpy`."""
    return kernel().name

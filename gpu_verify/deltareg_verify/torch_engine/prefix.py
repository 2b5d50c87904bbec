"""Vectors inserted before keys and values, or before tokens, of a live network."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from torch import nn

from deltareg.errors import Inconclusive
from deltareg.kind import PrefixInsert
from deltareg_verify.torch_engine.ops import TorchOps


@contextmanager
def inserted(
    network: nn.Module,  # noqa: ARG001  # the shape of what will be here
    inserts: Sequence[PrefixInsert],
    ops: TorchOps,  # noqa: ARG001
    fired: Callable[[PrefixInsert], None],  # noqa: ARG001
) -> Generator[None]:
    """Keep vectors inserted for as long as the block runs.

    Args:
        network: The whole network.
        inserts: In the order in which they apply.
        ops: What makes the vectors.
        fired: Told every time that vectors were put in.

    Raises:
        Inconclusive: There are any; this engine does not insert vectors yet.
    """
    if inserts:
        raise Inconclusive("this worker does not insert vectors yet")
    yield

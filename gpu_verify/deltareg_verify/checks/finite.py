"""No stored value is NaN or infinite."""

from deltareg.array import is_finite, view
from deltareg.kind import Tensor
from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.stream import pieces


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Look at every element of every tensor."""
    sick = sorted(name for name, tensor in case.folder.tensors.items() if not _is_finite(tensor))
    if sick:
        detail = f"NaN or infinity in {', '.join(sick[:3])}"
        return Finding("fail", value=len(sick), threshold=0, code="non_finite", detail=detail)
    return Finding("pass", value=0, threshold=0)


def _is_finite(tensor: Tensor) -> bool:
    parts = pieces(tensor)
    return all(is_finite(view(data, tensor.dtype, shape), tensor.dtype) for shape, data in parts)


CHECK = Check("finite", run, is_static=True)

"""Every tensor and file of the pulled folder matches the manifest, and there are no others.

A base that is a version must equal the folded version.
"""

from deltareg.digest import sha256_over, tensor_digest
from deltareg.errors import IntegrityFailure
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.stream import file_chunks, pieces


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Read all bytes once and compare digests."""
    tensors = case.folder.tensors
    _same_names("tensors", set(tensors), {t.name for t in case.manifest.tensors})
    _same_names("files", set(case.folder.files.sizes), {f.path for f in case.manifest.files})
    for entry in case.manifest.tensors:
        tensor = tensors[entry.name]
        digest = tensor_digest(tensor.dtype, tensor.shape, (data for _, data in pieces(tensor)))
        if digest != entry.digest:
            raise IntegrityFailure(f"tensor {entry.name} is {digest}, the manifest says {entry.digest}")
    for file in case.manifest.files:
        digest = sha256_over(file_chunks(case.folder.path / file.path))
        if digest != file.digest:
            raise IntegrityFailure(f"file {file.path} is {digest}, the manifest says {file.digest}")
    if case.contradiction:
        detail = f"the base is not what its version folds to: {case.contradiction} is another"
        return Finding("fail", value=case.contradiction, code="base_mismatch", detail=detail)
    files = len(case.manifest.files)
    folded = "; the base is what its version folds to" if case.has_computed_base else ""
    detail = f"{len(tensors)} tensors in {files} files{folded}"
    return Finding("pass", value=len(tensors), detail=detail)


def _same_names(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        odd = sorted(found ^ expected)
        raise IntegrityFailure(f"{what} differ from the manifest's: {', '.join(odd[:3])}")


CHECK = Check(
    "digests",
    run,
    CheckForm("every tensor and file is what the manifest says", fix="push the same folder again"),
    is_static=True,
)

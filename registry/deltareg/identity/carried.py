"""Which files a version may contain: one closed list for senders and receivers.

Weights in one format that holds nothing else, and documents that nobody executes. A server that
trusted its clients would hand the code of one of them to all the others.
"""

from collections.abc import Iterable

from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import ManifestFile

WEIGHTS = ".safetensors"
DOCUMENTS = (".json", ".md", ".txt", ".jinja", ".model", ".yaml", ".yml", ".tiktoken")
DOCUMENT_NAMES = frozenset({"LICENSE", "NOTICE", "LICENCE"})
CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".ipynb", ".js")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".xz", ".bz2", ".zst")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npz")


def is_carried(path: str) -> bool:
    """Whether a version or a base may contain a file of this name."""
    name = path.rpartition("/")[2]
    return name.endswith((WEIGHTS, *DOCUMENTS)) or name in DOCUMENT_NAMES


def check_carried(files: Iterable[ManifestFile]) -> None:
    """Refuse a manifest with files that no version may contain.

    Raises:
        Refused: With every such file and a remedy for each.
    """
    problems = [_problem(file) for file in files if _is_wrong(file)]
    if problems:
        raise Refused(problems)


def check_received(files: Iterable[ManifestFile], *, of: str = "this version") -> None:
    """Refuse to write files that no version may contain: a server that has them did not refuse them as it should.

    Raises:
        Refused: With every such file, and how to get the others.
    """
    fix = "ask who runs the registry how it came in; without it: --include '*.safetensors' --include '*.json'"
    problems = [_problem(file) for file in files if _is_wrong(file)]
    if problems:
        raise Refused([Problem(one.code, f"{of}: {one.message}", fix=fix) for one in problems])


def _is_wrong(file: ManifestFile) -> bool:
    return not is_carried(file.path) or file.is_tensors != file.path.endswith(WEIGHTS)


def _problem(file: ManifestFile) -> Problem:
    if file.path.endswith(CODE):
        return Problem("code_file", f"{file.path} is code; a delta carries none", fix="take it out of the folder")
    if file.is_tensors or file.path.endswith((WEIGHTS, *ARCHIVES, *PICKLES)):
        return Problem(
            "not_safetensors",
            f"{file.path} is no safetensors file",
            fix="save the weights as safetensors, or: deltareg convert PATH --out DIR",
        )
    return Problem(
        "foreign_file",
        f"{file.path} is not a file that deltas are made of",
        fix="take it out of the folder; push with a current client, which leaves it out",
    )

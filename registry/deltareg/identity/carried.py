"""Which files a version may carry: a closed list, asked by who sends them and by who keeps them.

Weights in one format that holds nothing else, and documents that nobody executes: a server that
believed its clients would hand code of one of them to all the others.
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
    """Whether a file of that name is one that a version or a base may have."""
    name = path.rpartition("/")[2]
    return name.endswith((WEIGHTS, *DOCUMENTS)) or name in DOCUMENT_NAMES


def check_carried(files: Iterable[ManifestFile]) -> None:
    """Refuse a manifest with files that no version may have.

    Raises:
        Refused: Each of them, with what to do.
    """
    problems = [_problem(file) for file in files if _is_wrong(file)]
    if problems:
        raise Refused(problems)


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

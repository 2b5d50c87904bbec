"""Where a running network has a module that a delta names otherwise, and whether peft finds it.

Transformers 5 put the language model of a network that sees one level deeper, and moved others.
peft takes old names of a LoRA there to new ones for some types, and for others not; what it does
not find stays as it was made, which is nothing, and no error is raised.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from deltareg.delta.architectures import facts
from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.keys import PREFIX

RENAME = "rename them for this base: deltareg convert PATH --out DIR --base BASE"
_WEIGHT = ".weight"
_TEXT = frozenset({"language_model", "text_model"})
_LEAST = 3


def served_path(target: str, base: BaseView) -> str:
    """Give the path of the module that holds a weight of the base, in the running network."""
    return (base.names.memory(target) or "").removesuffix(_WEIGHT)


def headed_path(target: str, base: BaseView) -> str:
    """Give the path of the module that holds a weight of the base, in a class with a head.

    Where the base's own class is the plain network, a task puts a head on it, and the network below
    an attribute. Empty where it is not known which.
    """
    path, names = served_path(target, base), base.names
    if not path or names.parts or not names.is_plain_class:
        return path
    prefix = names.rules.prefix or facts().prefixes.get(names.model_type, "")
    return f"{prefix}.{path}" if prefix else ""


def path_in_library(module: str, base: BaseView, *, converts: bool) -> str:
    """Give the path under which peft looks for a module that a delta names.

    Args:
        module: As the delta spells it.
        base: The base.
        converts: Whether the type of the delta is one whose names peft converts.
    """
    if not converts or base.names.model_type not in facts().loras_renamed:
        return module
    renamed = served_path(f"{module}{_WEIGHT}", base)
    # What it takes for no more than a prefix that was added is taken back.
    return module if f"{PREFIX}{module}".endswith(renamed) else renamed


class SuffixFinder:
    """Finds modules of a base by the end of their paths, where all before it is another's."""

    def __init__(self, base: BaseView) -> None:
        weights = (name for name in base.tensors if name.endswith(_WEIGHT))
        self._paths: dict[str, list[str]] = defaultdict(list)
        for path in {served_path(name, base) for name in weights}:
            for end in _ends(path):
                self._paths[end].append(path)

    def path(self, module: str) -> str:
        """Give the only path that ends as a module's does, from a numbered layer on; else empty.

        Of several the one in the language model counts.
        """
        for end in _ends(module):
            matches = self._paths.get(end, [])
            texts = [path for path in matches if _TEXT & {*path.split(".")}]
            candidates = texts or matches
            if candidates:
                return candidates[0] if len(candidates) == 1 else ""
        return ""

    def paths(self, modules: Iterable[str]) -> dict[str, str]:
        """Give the paths of all modules; empty when one has none, or two have the same."""
        paths: dict[str, str] = {}
        for module in modules:
            path = self.path(module)
            if not path:
                return {}
            paths[module] = path
        return paths if len({*paths.values()}) == len(paths) else {}


def _ends(path: str) -> Iterator[str]:
    """Give the ends of a path that hold the number of a layer, the longest first."""
    parts = path.split(".")
    for at in range(len(parts) - _LEAST + 1):
        if not any(part.isdecimal() for part in parts[at:]):
            return
        yield ".".join(parts[at:])

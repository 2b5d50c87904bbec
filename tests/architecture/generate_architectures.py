"""Write what transformers says of its classes: ties, orientations, types, heads, names.

`deltareg` reads deltas without transformers, so what its classes know is a file of ours. `python -m
tests.architecture.generate_architectures --write` makes it from the version that is installed.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import textwrap
import warnings
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

from deltareg.delta.architectures import FACTS
from tests.architecture.generate_renames import renames_of
from tests.architecture.generated import compare_or_write

_PLAIN = re.compile(r"[A-Za-z0-9_.]+\.(weight|bias)")
_CONV1D = re.compile(r"self\.(\w+)\s*=\s*Conv1D\(")
_IN_OUT = "is_transposed=True"
_UNPOOLED = "add_pooling_layer=False"
_ROLES = {"decoder", "encoder"}  # names of parts, in other networks too
_SCALED = re.compile(
    r"if self\.config\.(?:scale_decoder_outputs|tie_word_embeddings):\s+"
    r"(?:#.*\s+)*(\w+) = \1 \*"
)
_STANDARDISED = re.compile(r"class \w*WeightStandardized\w*\(nn\.Conv2d\)")
_HEADED = re.compile(r"\w+(For[A-Z]\w+|LMHeadModel|DoubleHeadsModel)")


def generate() -> str:
    """Give the text of the file."""
    import transformers
    from transformers import PreTrainedModel
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping as mapped
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

    ties: dict[str, list[str]] = defaultdict(list)
    conv1d: dict[str, set[str]] = defaultdict(set)
    in_out: set[str] = set()
    scaled: set[str] = set()
    standardised: set[str] = set()
    headed: dict[str, set[str]] = defaultdict(set)
    prefixes: dict[str, set[str]] = defaultdict(set)
    unpooled: set[str] = set()
    all_classes: dict[str, type[Any]] = {}
    for module in modeling_modules():
        classes: list[type[Any]] = [
            found
            for found in vars(module).values()
            if inspect.isclass(found) and issubclass(found, PreTrainedModel) and found.__module__ == module.__name__
        ]
        by_name = {found.__name__: found for found in classes}
        all_classes |= by_name
        for found in classes:
            if _HEADED.fullmatch(found.__name__):
                inner = inner_of(found, by_name, MODEL_MAPPING_NAMES)
                held = "" if inner is None else found.base_model_prefix
                prefixes[getattr(found.config_class, "model_type", "")].add(held)
                headed[getattr(found.config_class, "model_type", "")].add(found.__name__)
                is_unpooled = _UNPOOLED in inspect.getsource(found.__init__)
                unpooled |= {found.__name__} if is_unpooled else set()
            tied = own_ties(found) | ties_below(found, by_name, MODEL_MAPPING_NAMES)
            if tied:
                ties[json.dumps(tied, sort_keys=True)].append(found.__name__)
        source = Path(str(module.__file__)).read_text()
        types = {t for c in classes if (t := getattr(c.config_class, "model_type", ""))}
        for model_type in types:
            conv1d[model_type] |= set(_CONV1D.findall(source))
            in_out |= {model_type} if _IN_OUT in source else set()
            scaled |= {model_type} if _SCALED.search(source) else set()
            standardised |= {model_type} if _STANDARDISED.search(source) else set()
    facts = {
        "transformers": transformers.__version__,
        "types": sorted(CONFIG_MAPPING_NAMES),
        "causal_lm": {
            name: value if isinstance(value, str) else value[0]
            for name, value in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items())
        },
        "conv1d": {name: sorted(found) for name, found in sorted(conv1d.items()) if found},
        "experts_in_out": sorted(in_out),
        "scaled_by_ties": sorted(scaled),
        "standardised": sorted(standardised),
        "headed": {name: sorted(found) for name, found in sorted(headed.items()) if name},
        "prefixes": {
            name: max(found)
            for name, found in sorted(prefixes.items())
            if name and len(found - {""}) == 1 and not found & _ROLES
        },
        "unpooled": sorted(unpooled),
        "loras_renamed": [name for name in sorted(CONFIG_MAPPING_NAMES) if mapped(name)],
        "renames": renames_of(all_classes[name] for name in sorted(all_classes)),
        "ties": [
            {"tied": json.loads(tied), "classes": sorted(names)}
            for tied, names in sorted(ties.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
    }
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"


def modeling_modules() -> list[ModuleType]:
    """Give every module of transformers that defines networks and can be imported here."""
    import transformers.models

    found: list[ModuleType] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in pkgutil.iter_modules(transformers.models.__path__):
            folder = Path(transformers.models.__path__[0]) / package.name
            for path in sorted(folder.glob("modeling_*.py")):
                name = f"transformers.models.{package.name}.{path.stem}"
                try:
                    found.append(importlib.import_module(name))
                except ImportError:  # it wants a package that is not here
                    continue
    return found


def own_ties(cls: type[Any]) -> dict[str, str]:
    """Give the parameters that a class ties by their names; those by a pattern are left out."""
    told = getattr(cls, "_tied_weights_keys", None)
    named = {**told} if isinstance(told, dict) else {}
    return {
        target: source
        for target, source in {**named, **made_ties(cls)}.items()
        if _PLAIN.fullmatch(target) and _PLAIN.fullmatch(source)
    }


def made_ties(cls: type[Any]) -> dict[str, str]:
    """Give what a class ties when it is made, as Marian does where its config shares embeddings."""
    init = vars(cls).get("__init__")
    tree = ast.parse(textwrap.dedent(inspect.getsource(init))) if init else ast.Module([], [])
    told = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.targets[0]) == "self._tied_weights_keys"
    ]
    plain = [d for d in told if all(isinstance(k, ast.Constant) for k in (*d.keys, *d.values))]
    found: dict[str, str] = {}
    for dictionary in plain:
        found |= ast.literal_eval(dictionary)
    return found


def ties_below(cls: type[Any], by_name: dict[str, type[Any]], plain: dict[str, Any]) -> dict[str, str]:
    """Give what the plain network inside a class ties, by its names there."""
    inner = inner_of(cls, by_name, plain)
    prefix = cls.base_model_prefix
    ties = {} if inner is None else own_ties(inner)
    return {f"{prefix}.{t}": f"{prefix}.{s}" for t, s in ties.items()}


def inner_of(cls: type[Any], by_name: dict[str, type[Any]], plain: dict[str, Any]) -> type[Any] | None:
    """Give the plain network that a class holds under its prefix; None where it holds none."""
    prefix = getattr(cls, "base_model_prefix", "")
    name = plain.get(getattr(cls.config_class, "model_type", ""), "")
    inner = by_name.get(name if isinstance(name, str) else name[0])
    if not prefix or inner is None or inner is cls:
        return None
    return inner if holds(cls, prefix, inner.__name__) else None


def holds(cls: type[Any], attribute: str, name: str) -> bool:
    """Whether a class makes an attribute of this class (or of any, by an Auto class) for itself."""
    own = (vars(base).get("__init__") for base in cls.__mro__[:-1] if "transformers.models" in base.__module__)
    sources = [inspect.getsource(init) for init in own if init]
    found = [m for s in sources for m in re.findall(rf"self\.{attribute} = (\w+)", s)]
    for source in sources:  # made under another name first
        found += [m for first in found[:1] for m in re.findall(rf"\b{first} = (\w+)\(", source)]
    return any(made == name or made.startswith("Auto") for made in (*found[:1], *found[-1:]))


if __name__ == "__main__":
    compare_or_write(FACTS, generate)

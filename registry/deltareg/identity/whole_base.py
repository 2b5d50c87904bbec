"""The whole of a base: its tensors, and the other parts that decide what it does, by name.

Two bases with the same tensors but a different epsilon, tokenizer or chat template are two bases.
The *identity* is the Merkle root over the digests of the parts; missing parts are left out. Files
that belong to no part (a README, a licence) do not affect what a base does and are not included;
custom code is never carried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deltareg.digest import Digest, merkle_root, sha256_of
from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput
from deltareg.identity.config_form import INERT, config_changes, config_form, form_digest
from deltareg.identity.fingerprint import fingerprint
from deltareg.identity.manifest import COMPONENTS, Manifest, canonical_json
from deltareg.tensors.header import strict_json_object

TENSORS = "tensors"
CONFIG = "config"
PARTS = (TENSORS, CONFIG, "modules", "tokenizer", "chat_template", "processor", "generation")
"""The parts of a base, in the order in which they are told."""

_CONFIG_FILE = "config.json"
_INDEX_FILE = "model_index.json"
_ANY_ROOT = Digest("blake3", "0" * 64)
_RULE = "deltareg.base-identity/1"
_FILES: Mapping[str, frozenset[str]] = {
    "modules": frozenset(
        {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "scheduler_config.json"}
    ),
    "tokenizer": frozenset(
        {
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
            "vocab.txt",
            "merges.txt",
            "special_tokens_map.json",
            "added_tokens.json",
            "normalizer.json",
            "tekken.json",
        }
    ),
    "chat_template": frozenset({"chat_template.json"}),
    "processor": frozenset(
        {
            "preprocessor_config.json",
            "processor_config.json",
            "image_processor_config.json",
            "video_preprocessor_config.json",
        }
    ),
    "generation": frozenset({"generation_config.json"}),
}
_ENDINGS: Mapping[str, str] = {".jinja": "chat_template", ".model": "tokenizer", ".tiktoken": "tokenizer"}


@dataclass(frozen=True, slots=True)
class WholeBase:
    """The parts of a base.

    Attributes:
        parts: The digest of each existing part, by name.
    """

    parts: Mapping[str, Digest]

    @property
    def identity(self) -> Digest:
        """The digest over all parts."""
        leaves = ((f"{_RULE}/{name}", digest) for name, digest in self.parts.items())
        return merkle_root(leaves)

    def differing(self, other: "WholeBase") -> list[str]:
        """Return the parts that differ from another base's, in display order."""
        return [part for part in PARTS if self.parts.get(part) != other.parts.get(part)]


@dataclass(frozen=True, slots=True)
class PartDifference:
    """A part in which two bases differ.

    Attributes:
        part: Its name.
        details: The differing keys or files.
    """

    part: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Format it: `config differs: rms_norm_eps 1e-05 → 1e-06`."""
        verb = "differ" if self.part in {TENSORS, "modules"} else "differs"
        words = f"{self.part.replace('_', ' ')} {verb}"
        return f"{words}: {', '.join(self.details)}" if self.details else words


def whole_base(manifest: Manifest, *, root: Digest | None = None) -> WholeBase:
    """Build the parts of a base from its manifest, which lists its files and contains its config.

    Args:
        manifest: The manifest of a base.
        root: The root of its tensors, if already known.

    Raises:
        InvalidInput: It does not contain the base's config.
        Refused: The config is no JSON object.
    """
    tensors = fingerprint(manifest.records().values()) if root is None else root
    parts = {TENSORS: tensors, CONFIG: form_digest(_config(manifest))}
    files = _files(manifest)
    for part in PARTS:
        if part in files:
            parts[part] = sha256_of(canonical_json({p: str(d) for p, d in files[part].items()}))
    return WholeBase(parts)


def part_differences(before: Manifest, after: Manifest, *, same_tensors: bool = False) -> list[PartDifference]:
    """Return the parts in which two bases differ, with details; empty if they are the same base.

    It says whether tensors differ but not which: `deltareg.delta.compare` does that. With
    `same_tensors`, if they are known to be equal, their digests are not compared.
    """
    root = _ANY_ROOT if same_tensors else None
    parts = whole_base(before, root=root).differing(whole_base(after, root=root))
    one, two = _files(before), _files(after)
    differences: list[PartDifference] = []
    for part in parts:
        if part == CONFIG:
            details = config_changes(_config(before), _config(after))
        else:
            details = list(_file_changes(one.get(part, {}), two.get(part, {})))
        differences.append(PartDifference(part, tuple(details)))
    return differences


def tell_differences(found: list[PartDifference]) -> str:
    """Describe the result of `part_differences` in one sentence, tensors first."""
    parts = [str(one) for one in found]
    if not any(one.part == TENSORS for one in found):
        parts = ["the same tensors", *parts]
    return "; ".join(parts) if found else "the same in every part"


def inert_differences(before: Manifest, after: Manifest) -> list[str]:
    """Return what differs between two bases outside of all parts: inert keys, other files."""
    one, two = (strict_json_object(str(m.config["config_json"]).encode()) for m in (before, after))
    keys = sorted(key for key in INERT if one.get(key) != two.get(key))
    files = [
        {file.path: file.digest for file in m.files if not file.is_tensors and _is_other(file.path)}
        for m in (before, after)
    ]
    return [*(f"config key {key}" for key in keys), *_file_changes(files[0], files[1])]


def _is_other(path: str) -> bool:
    name = path.rpartition("/")[2]
    return part_of(path) is None and name not in {_CONFIG_FILE, _INDEX_FILE}


def part_of(path: str) -> str | None:
    """Return the part that a file of a base belongs to; None if it belongs to none.

    `config.json`, and that of a pipeline's component, is the part `config`, which is compared by
    content.
    """
    name = path.rpartition("/")[2]
    for part, names in _FILES.items():
        if name in names:
            return part
    return next((part for ending, part in _ENDINGS.items() if name.endswith(ending)), None)


def _config(manifest: Manifest) -> dict[str, object]:
    text = manifest.config.get("config_json")
    if not isinstance(text, str):
        raise InvalidInput("the manifest of a base does not hold its config")
    form = config_form(strict_json_object(text.encode()))
    inner = manifest.config.get(COMPONENTS)
    if not is_object(inner):
        return form
    parsed = {n: config_form(strict_json_object(str(t).encode())) for n, t in inner.items()}
    return {**form, COMPONENTS: parsed}


def _files(manifest: Manifest) -> dict[str, dict[str, Digest]]:
    """Group the files of a base by part."""
    inner = manifest.config.get(COMPONENTS)
    described_elsewhere = {_CONFIG_FILE, _INDEX_FILE}
    described_elsewhere |= {f"{name}/{_CONFIG_FILE}" for name in inner} if is_object(inner) else set[str]()
    files: dict[str, dict[str, Digest]] = {}
    for file in manifest.files:
        if file.is_tensors or file.path in described_elsewhere:
            continue
        is_inner = file.path.rpartition("/")[2] == _CONFIG_FILE  # of a pooling module, say
        part = "modules" if is_inner else part_of(file.path)
        if part is not None:
            files.setdefault(part, {})[file.path] = file.digest
    return files


def _file_changes(before: Mapping[str, Digest], after: Mapping[str, Digest]) -> Iterator[str]:
    for path in sorted({*before, *after}):
        if path not in after:
            yield f"{path} only in the first"
        elif path not in before:
            yield f"{path} only in the second"
        elif before[path] != after[path]:
            yield path

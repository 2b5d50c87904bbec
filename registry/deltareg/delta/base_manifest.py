"""The manifest of a base, and what a kind may see of the base through it.

A base's manifest lists its files and tensors like a delta's; its `config` holds the text of
`config.json` verbatim, so that a base which is only registered can still be reasoned about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltareg.delta.kind import BaseView
from deltareg.delta.names import name_map_for
from deltareg.digest import Digest, merkle_root, sha256_of
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Problem, Refused
from deltareg.identity.fingerprint import fingerprint
from deltareg.identity.manifest import (
    BASE_KIND,
    Manifest,
    ManifestFile,
    ManifestTensor,
    canonical_json,
)
from deltareg.tensors.header import SafetensorsHeader, strict_json_object

CONFIG_FILE = "config.json"
TOKENIZER_FILES = frozenset({
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "spiece.model", "tokenizer.model",
    "chat_template.jinja",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """The digests that name a base.

    Attributes:
        root: Over all tensors (deltareg.identity.fingerprint).
        config: Over `config.json`, canonical; equal whatever the order of its keys.
        tokenizer: Over the tokenizer's files; None when there are none.
    """

    root: Digest
    config: Digest
    tokenizer: Digest | None


def build_base_manifest(
    *,
    headers: Mapping[str, SafetensorsHeader],
    files: Iterable[ManifestFile],
    digests: Mapping[tuple[str, str], Digest],
    config_text: str,
) -> Manifest:
    """Build the manifest of a base.

    Args:
        headers: Header of every weight file, by path.
        files: All files.
        digests: Tensor digest by (file, tensor name).
        config_text: `config.json` as it is; `{}` when there is none.

    Raises:
        Refused: Two files hold a tensor of the same name.
    """
    seen: dict[str, str] = {}
    for path, header in headers.items():
        for name in header.tensors:
            if name in seen:
                both = f"{seen[name]} and {path} both hold it"
                raise Refused([Problem("ambiguous", both, tensor=name, fix="keep one of them")])
            seen[name] = path
    tensors = (
        ManifestTensor(
            path, name, "weight", "", info.dtype, info.shape, digests[path, name]
        )
        for path, header in headers.items()
        for name, info in header.tensors.items()
    )  # fmt: skip
    return Manifest(
        kind=BASE_KIND,
        variant="",
        foldable=False,
        base=None,
        config={"config_json": config_text, "model_type": _model_type(config_text)},
        tensors=tuple(sorted(tensors, key=lambda t: (t.file, t.name))),
        files=tuple(sorted(files, key=lambda f: f.path)),
    )


def base_view(manifest: Manifest) -> BaseView:
    """Show a base to a kind: records, config and name map."""
    records = manifest.records()
    config = strict_json_object(str(manifest.config["config_json"]).encode())
    return BaseView(fingerprint(records.values()), records, config, name_map_for(config, records))


SAME_PARAMETERS_RULE = "2"
"""Version of the rule by which `parameters_root` is taken; recorded with every relation."""


def parameters_root(view: BaseView) -> Digest:
    """Give the root over parameters alone: canonical names, known buffers left out.

    A base that another release of its library saved again, under other names or without a buffer,
    has another fingerprint and the same parameters.
    """
    names = view.names
    return merkle_root(
        (names.canonical(name), record.digest)
        for name, record in view.tensors.items()
        if not names.is_buffer(name)
    )


def base_identity(manifest: Manifest) -> BaseIdentity:
    """Give the digests that name a base."""
    config = strict_json_object(str(manifest.config["config_json"]).encode())
    tokenizer = {
        file.path: str(file.digest)
        for file in manifest.files
        if file.path.rpartition("/")[2] in TOKENIZER_FILES
    }
    return BaseIdentity(
        root=fingerprint(manifest.records().values()),
        config=sha256_of(canonical_json(_floats_as_text(config))),
        tokenizer=sha256_of(canonical_json(tokenizer)) if tokenizer else None,
    )


def _model_type(config_text: str) -> str:
    found = strict_json_object(config_text.encode()).get("model_type", "")
    return found if isinstance(found, str) else ""


def _floats_as_text(value: object) -> object:
    if isinstance(value, float):
        return repr(value)
    if is_object(value):
        return {key: _floats_as_text(item) for key, item in value.items()}
    if is_list(value):
        return [_floats_as_text(item) for item in value]
    return value

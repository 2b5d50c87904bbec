"""The manifest of a base, and the view of the base that kinds get from it.

A base's manifest lists its files and tensors like a delta's; its `config` holds the text of
`config.json` verbatim, so that a base which is only registered can still be reasoned about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from deltareg.delta.kind import BaseView
from deltareg.delta.names import name_map_for, pipeline_names
from deltareg.digest import Digest, merkle_root, sha256_of
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Problem, Refused
from deltareg.identity.fingerprint import fingerprint
from deltareg.identity.manifest import BASE_KIND, COMPONENTS, Manifest, ManifestFile, ManifestTensor, canonical_json
from deltareg.identity.whole_base import WholeBase, whole_base
from deltareg.tensors.header import SafetensorsHeader, strict_json_object

CONFIG_FILE = "config.json"
TOKENIZER_FILES = frozenset(
    {
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json",
        "spiece.model",
        "tokenizer.model",
        "chat_template.jinja",
    }
)


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """The digests that name a base.

    Attributes:
        root: Over all tensors (deltareg.identity.fingerprint).
        config: Over `config.json`, canonical; equal whatever the order of its keys. Of a pipeline
            over those of its components too.
        tokenizer: Over the tokenizer's files; None when there are none.
        whole: Over all parts that decide what it does; differs between bases with the same tensors.
    """

    root: Digest
    config: Digest
    tokenizer: Digest | None
    whole: WholeBase


def build_base_manifest(
    *,
    headers: Mapping[str, SafetensorsHeader],
    files: Iterable[ManifestFile],
    digests: Mapping[tuple[str, str], Digest],
    config_text: str,
    components: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """Build the manifest of a base.

    Args:
        headers: Header of every weight file, by path.
        files: All files.
        digests: Tensor digest by (file, tensor name).
        config_text: `config.json` as it is; of a pipeline `model_index.json`; `{}` without either.
        components: Of a pipeline, the `config.json` of every component by its folder.

    Raises:
        Refused: Two files hold a tensor of the same name.
    """
    tensors = (
        ManifestTensor(path, name, "weight", "", info.dtype, info.shape, digests[path, name])
        for path, header in headers.items()
        for name, info in header.tensors.items()
    )
    inner = {COMPONENTS: dict(components)} if components else {}
    manifest = Manifest(
        kind=BASE_KIND,
        variant="",
        foldable=False,
        base=None,
        config={"config_json": config_text, "model_type": _model_type(config_text), **inner},
        tensors=tuple(sorted(tensors, key=lambda t: (t.file, t.name))),
        files=tuple(sorted(files, key=lambda f: f.path)),
    )
    _refuse_twice(manifest)
    return manifest


def components_of(manifest: Manifest) -> dict[str, str]:
    """Return the text of every component's `config.json`; empty for a base that is no pipeline."""
    texts = manifest.config.get(COMPONENTS)
    return {part: str(text) for part, text in texts.items()} if is_object(texts) else {}


def _refuse_twice(manifest: Manifest) -> None:
    holders: dict[str, str] = {}
    for tensor in manifest.tensors:
        name = manifest.base_name(tensor.file, tensor.name)
        if name in holders:
            both = f"{holders[name]} and {tensor.file} both hold it"
            raise Refused([Problem("ambiguous", both, tensor=name, fix="keep one of them")])
        holders[name] = tensor.file


def base_view(manifest: Manifest) -> BaseView:
    """Return a base as kinds see it: records, config and name map."""
    records = manifest.records()
    config = strict_json_object(str(manifest.config["config_json"]).encode())
    texts = components_of(manifest)
    components = {part: strict_json_object(text.encode()) for part, text in texts.items()}
    names = pipeline_names(components, records) if texts else name_map_for(config, records)
    return BaseView(fingerprint(records.values()), records, config, names, components)


SAME_PARAMETERS_RULE = "2"
"""Version of the rule by which `parameters_root` is taken; recorded with every relation."""


def parameters_root(view: BaseView) -> Digest:
    """Return the root over parameters alone: canonical names, known buffers left out.

    A base that another release of its library saved again, under other names or without a buffer,
    has another fingerprint and the same parameters.
    """
    names = view.names
    return merkle_root(
        (names.canonical(name), record.digest) for name, record in view.tensors.items() if not names.is_buffer(name)
    )


def base_identity(manifest: Manifest) -> BaseIdentity:
    """Return the digests that name a base."""
    config = strict_json_object(str(manifest.config["config_json"]).encode())
    inner = {n: strict_json_object(t.encode()) for n, t in components_of(manifest).items()}
    whole = {**config, COMPONENTS: inner} if inner else config
    tokenizer = {
        file.path: str(file.digest) for file in manifest.files if file.path.rpartition("/")[2] in TOKENIZER_FILES
    }
    root = fingerprint(manifest.records().values())
    return BaseIdentity(
        root=root,
        config=sha256_of(canonical_json(_floats_as_text(whole))),
        tokenizer=sha256_of(canonical_json(tokenizer)) if tokenizer else None,
        whole=whole_base(manifest, root=root),
    )


def _model_type(config_text: str) -> str:
    model_type = strict_json_object(config_text.encode()).get("model_type", "")
    return model_type if isinstance(model_type, str) else ""


def _floats_as_text(value: object) -> object:
    if isinstance(value, float):
        return repr(value)
    if is_object(value):
        return {key: _floats_as_text(item) for key, item in value.items()}
    if is_list(value):
        return [_floats_as_text(item) for item in value]
    return value

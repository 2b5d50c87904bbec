"""A base's config in comparable form: everything that affects what it computes, and nothing else.

A list of names here is left out; every other key counts, known or not. No defaults are filled in: a
default depends on the class and the release that reads it, so a missing key and the same key with
its default are different configs. These are equal: any order of keys, any spelling of a number
(`1e-5`, `0.00001`; `10000`, `10000.0`), and the two places where transformers has written rotary
positions (`rope_theta` with `rope_scaling`; `rope_parameters` since release 5).
"""

from collections.abc import Iterator, Mapping

from deltareg.digest import Digest, sha256_of
from deltareg.documents.json_values import is_list, is_object
from deltareg.identity.manifest import canonical_json

INERT = frozenset(
    {
        # Where it came from, and what wrote it.
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "transformers_version",
        "_diffusers_version",
        "unsloth_version",
        "unsloth_fixed",
        # How it is loaded: the dtypes are the tensors' own, and code is never carried.
        "torch_dtype",
        "dtype",
        "auto_map",
        "torchscript",
        # How it is computed, to the same numbers.
        "use_cache",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_attn_implementation_internal",
        "_experts_implementation",
        "_flash_attn_2_enabled",
        "use_flash_attn",
        "gradient_checkpointing",
        # What is handed back beside the result.
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "use_return_dict",
    }
)
"""Keys that say nothing of what a base computes, in its config and in the configs inside that."""

_PACKING = frozenset({"quantization_config", "compression_config"})
_INNER = frozenset({"encoder", "decoder"})
_ROPE = "rope_parameters"
_LEFT_OUT = "left out"


def config_form(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config without inert keys, with numbers and rotary positions in one spelling."""
    effective = {key: value for key, value in config.items() if key not in INERT}
    return {
        key: config_form(value) if is_object(value) and _is_config(key) else _plain(value)
        for key, value in _with_one_rope(effective).items()
    }


def form_digest(form: object) -> Digest:
    """Digest the output of `config_form`; a number never equals the text that spells it."""
    return sha256_of(canonical_json(_without_floats(form)))


def config_changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Describe how two configs differ, key by key, as `rms_norm_eps 1e-05 → 1e-06`, sorted by name.

    Args:
        before: A config in comparable form.
        after: Another one.
    """
    one, two = dict(_leaves(before)), dict(_leaves(after))
    return [
        f"{key} {_describe_field(one, key)} → {_describe_field(two, key)}"
        for key in sorted({*one, *two})
        if key not in one or key not in two or not _is_same(one[key], two[key])
    ]


def _is_config(key: str) -> bool:
    return key in _INNER or (key.endswith("_config") and key not in _PACKING)


def _with_one_rope(config: dict[str, object]) -> dict[str, object]:
    """Write rotary positions as transformers before 5 does, if that loses nothing."""
    new, old = config.get(_ROPE), config.get("rope_scaling")
    is_whole = is_object(new) and "rope_theta" in new and "rope_type" in new
    if is_object(new) and is_whole and _agrees(config, "rope_theta", new) and old is None:
        rest = {key: value for key, value in new.items() if key != "rope_theta"}
        scaling = None if rest == {"rope_type": "default"} else rest
        without_rope = {key: value for key, value in config.items() if key != _ROPE}
        return {**without_rope, "rope_theta": new["rope_theta"], "rope_scaling": scaling}
    if is_object(old) and "type" in old and old.get("rope_type", old["type"]) == old["type"]:
        rest = {key: value for key, value in old.items() if key != "type"}
        return {**config, "rope_scaling": {**rest, "rope_type": old["type"]}}
    return config


def _agrees(config: Mapping[str, object], key: str, inner: Mapping[str, object]) -> bool:
    """Whether a key is in only one of two places, or has the same value in both."""
    return key not in config or config[key] == inner[key]


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if is_object(value):
        return {key: _plain(item) for key, item in value.items()}
    if is_list(value):
        return [_plain(item) for item in value]
    return value


def _without_floats(value: object) -> object:
    if isinstance(value, float):
        return {"float": repr(value)}
    if is_object(value):
        return {"object": {key: _without_floats(item) for key, item in value.items()}}
    if is_list(value):
        return [_without_floats(item) for item in value]
    return value


def _leaves(value: Mapping[str, object], at: str = "") -> Iterator[tuple[str, object]]:
    for key, item in value.items():
        if is_object(item) and item:
            yield from _leaves(item, f"{at}{key}.")
        else:
            yield f"{at}{key}", item


def _is_same(one: object, two: object) -> bool:
    return form_digest(one) == form_digest(two)


def _describe_field(found: Mapping[str, object], key: str) -> str:
    if key not in found:
        return _LEFT_OUT
    value = found[key]
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"

"""Which release of peft wrote a config, as far as the config shows.

`save_pretrained` of every release writes all fields that the release has, so a field that a whole config
lacks came later. A config that somebody wrote by hand or cut short says nothing in this way, and is read as
today's library reads it.
"""

from deltareg.delta.layouts.peft.config import Fields

_ALWAYS = ("auto_mapping", "base_model_name_or_path", "inference_mode", "revision", "task_type")
"""Fields of every peft_type and every release since 0.4."""


def is_before(fields: Fields, name: str, since: tuple[int, int]) -> bool:
    """Whether the release that wrote a config came before the one that brought a field.

    Args:
        fields: The config.
        name: The field.
        since: The release that brought it, as (major, minor).
    """
    if fields.has(name):
        return False
    version = fields.version
    return version < since if version is not None else all(map(fields.has, _ALWAYS))

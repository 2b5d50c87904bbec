"""Name maps: tensor names in a base's files ↔ module names in memory, as data per model type.

A delta speaks of modules (`bert.encoder.layer.0…`), a base's file of tensors (`encoder.layer.0…`);
the two differ by a prefix, by the library's version, or both. Each model type that needs it has a
JSON file beside this module; `default.json` serves all others.
"""

from deltareg.delta.names.name_map import NameMap, ParameterPart, name_map_for
from deltareg.delta.names.pipeline_names import pipeline_names
from deltareg.delta.names.rules import NameRules, rules_for

__all__ = ["NameMap", "NameRules", "ParameterPart", "name_map_for", "pipeline_names", "rules_for"]

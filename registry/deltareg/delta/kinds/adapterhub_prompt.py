"""Prompt tuning of the adapters library: vectors before what the embeddings give.

They stand after positions and norm of the embeddings, so they have neither; and a network that
pools its first token then pools the prompt's.
"""

from deltareg.delta.kind import PrefixInsert
from deltareg.delta.layouts.adapterhub.config import architecture
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter, HubKind
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.adapterhub.prefix_config import PromptLength, read_prompt
from deltareg.delta.layouts.adapterhub.prefixes import PromptVectors
from deltareg.delta.layouts.peft.saved import EffectPlan

_CONTAINER = "prompt_tunings"
# Types of network that the library gives a prompt to, and whose embeddings are known here.
_TYPES = frozenset({"bert", "roberta", "vit", "xlm-roberta"})


def plan_prompt(plan: EffectPlan, adapter: Adapter, settings: PromptLength) -> None:
    """Add the prompt's effect to a plan."""
    holders, sites = adapter.within(_CONTAINER), adapter.places.sites
    if sites.model_type not in _TYPES or len(sites.embeddings) != 1:
        message = f"the library gives no prompt to networks of type {sites.model_type!r}"
        plan.refuse("unknown_kind", message, "", "push it with the base that it was trained on")
        return
    if len(holders) != 1:
        message = f"{len(holders)} modules hold a prompt, and one can"
        plan.refuse("unexpected_tensors", message, next(iter(next(iter(holders.values())).values())))
        return
    (names,) = holders.values()
    parameters = ModuleParameters("the prompt", names, adapter.tensors, plan)
    prompt_width = (*parameters.shape("prompt_embedding.weight"), 0, 0)[1]
    width = adapter.places.width(adapter.places.layers[0].parts["ffn"]) or prompt_width
    vectors = parameters.take("prompt_embedding.weight", (settings.length, width))
    if parameters.finish():
        (module,) = sites.embeddings.values()
        insert = PrefixInsert("embeddings", module, 0, PromptVectors(vectors), parameters.roles)
        plan.effects.append(insert)


PROMPT = HubKind[PromptLength](
    name="prompt",
    method="prompt_tuning",
    is_method=lambda method: architecture(method) == "prompt_tuning",
    container=_CONTAINER,
    read=read_prompt,
    plan=plan_prompt,
    variant=lambda _: "",
    is_foldable=lambda _: False,
)

"""The ledger: each tensor once, and nothing undeclared; whatever a kind claims."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.kind import Addition, BaseCopy, BaseView, DeltaFiles, Match, WeightUpdate
from deltareg.delta.kinds import all_kinds, kind_names
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.delta.names import name_map_for
from deltareg.delta.shapes import header_tensors
from deltareg.digest import Digest
from deltareg.errors import Refused
from deltareg.identity.fingerprint import TensorRecord
from deltareg.identity.manifest import Source
from deltareg.tensors.header import SafetensorsHeader, TensorInfo

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


@dataclass(frozen=True)
class Toy:
    """A kind that does what it is told."""

    name: ClassVar[str] = "toy"
    layout: ClassVar[str] = "toys"
    make: Callable[[Mapping], list] = field(default=lambda _: [])
    variant = ""
    foldable = True
    source = Source()

    @classmethod
    def recognise(cls, *_):
        return Match(cls.name, "it is a toy", 2)

    @classmethod
    def parse(cls, *_):
        return cls()

    def config(self):
        return {}

    def problems(self, files, base):
        return []

    def effects(self, tensors, base):
        return self.make(tensors)


class OtherToy(Toy):
    name = "other"


def info(name, *shape, dtype="F32"):
    return TensorInfo(name, dtype, shape, 0, 4)


def view_of(**shapes):
    digest = Digest("blake3", "0" * 64)
    records = {
        name: TensorRecord(name, "I8" if "int" in name else "F32", shape, digest)
        for name, shape in ((key.replace("__", "."), shape) for key, shape in shapes.items())
    }
    return BaseView(digest, records, CONFIG, name_map_for(CONFIG, records))


def files_of(*infos, documents=None):
    header = SafetensorsHeader({i.name: i for i in infos})
    return DeltaFiles({}, {"a.safetensors": header}, documents or {})


BASE = view_of(w__weight=(4, 3), int__weight=(4, 3), model__embed_tokens__weight=(9, 3))
W = info("w", 4, 3)


def codes(make, *infos, base=BASE):
    files = files_of(*(infos or (W,)))
    found = account(Toy(make), files, header_tensors(files), base)
    return [problem.code for problem in found.problems]


def update(target, tensor, name="w", *, formula=ScaledAddition, **more):
    return WeightUpdate(target, formula(tensor), {name: "weight"}, **more)


@pytest.mark.parametrize(
    ("make", "want"),
    [
        (lambda t: [update("w.weight", t["w"])], []),
        (lambda _: [], ["no_tensor_applied"]),
        (lambda t: [update("w.weight", t["w"]), update("w.weight", t["w"])], ["unexpected_tensors"]),
        (lambda t: [update("x.weight", t["w"])], ["no_tensor_applied"]),
        (lambda t: [update("int.weight", t["w"])], ["shape"]),
        (lambda t: [update("int.weight", t["w"], formula=Replacement)], []),
        (lambda t: [update("w.weight", t["w"], shape=(5, 3))], ["shape"]),
        (lambda t: [update("w.weight", t["w"], shape=(3, 3))], ["shape"]),
        (lambda t: [update("model.embed_tokens.weight", t["w"])], ["shape"]),
        (lambda t: [Addition("score.weight", t["w"], {"w": "head"})], ["no_tensor_applied"]),
        (lambda t: [Addition("w.weight", t["w"], {"w": "head"})], ["undeclared_base_override", "no_tensor_applied"]),
        (lambda t: [BaseCopy("w.weight", t["w"], {"w": "copy"})], ["no_tensor_applied"]),
        (lambda t: [BaseCopy("x.weight", t["w"], {"w": "copy"})], ["unexpected_tensors", "no_tensor_applied"]),
        (lambda t: [BaseCopy("model.embed_tokens.weight", t["w"], {"w": "copy"})], ["shape", "no_tensor_applied"]),
        (lambda t: [update("w.weight", t["w"]), update("w.weight", t["w"], "invented")], ["missing_tensors"]),
    ],
)
def test_what_does_not_add_up_is_found(make, want):
    assert codes(make) == want


def test_a_tensor_that_nothing_uses_is_found():
    assert codes(lambda t: [update("w.weight", t["w"])], W, info("idle", 2)) == ["unexpected_tensors"]


def test_two_tensors_of_one_name_are_found():
    first, other = SafetensorsHeader({"w": W}), SafetensorsHeader({"w": info("w", 3)})
    files = DeltaFiles({}, {"a.safetensors": other, "b.safetensors": first}, {})
    make = Toy(lambda t: [update("w.weight", t["w"])])

    found = account(make, files, header_tensors(files), BASE)

    assert [p.code for p in found.problems] == ["unexpected_tensors"]
    assert not found.is_accepted


def test_an_account_names_roles_and_counts_what_is_hit():
    files = files_of(W)

    found = account(Toy(lambda t: [update("w.weight", t["w"])]), files, header_tensors(files), BASE)

    assert found.is_accepted
    assert found.roles == {"w": ("weight", "w.weight")}
    assert found.modules == 1


def test_the_strongest_evidence_wins():
    class Surer(Toy):
        name = "surer"
        layout = "surer"

        @classmethod
        def recognise(cls, *_):
            return Match(cls.name, "a config says so", 3)

    kind, match = recognise(files_of(W), BASE, kinds=[Toy, Surer, OtherToy])

    assert kind.name == "surer"
    assert match.evidence == "a config says so"


def test_two_equal_claims_are_refused():
    with pytest.raises(Refused, match="toy") as caught:
        recognise(files_of(W), BASE, kinds=[Toy, OtherToy])

    assert caught.value.problem_code == "kind_mismatch"


@pytest.mark.parametrize(
    ("names", "documents", "told"),
    [
        (["blk.0.attn_q.weight.lora_a"], {}, "GGUF"),
        (["model.layers.0.self_attn.q_proj.lora_a"], {}, "MLX"),
        (["lycoris_model_layers_0_q_proj.hada_w1_a"], {}, "LyCORIS"),
        (["diffusion_model.layers.0.q_proj.lora_A.weight"], {}, "ComfyUI"),
        (["a"], {"adapter_config.json": {"peft_type": "XLORA"}}, "XLORA"),
        (
            ["h.0.adapters.x.adapter_down.0.weight"],
            {"adapter_config.json": {"version": "adapters.1.3.0", "config": {"architecture": "someday"}}},
            "adapters library",
        ),
    ],
)
def test_what_no_kind_knows_is_named(names, documents, told):
    files = files_of(*(info(name, 2) for name in names), documents=documents)

    with pytest.raises(Refused, match=told) as caught:
        recognise(files, BASE)

    assert caught.value.problem_code == "unknown_kind"


def test_the_kinds_are_found_by_looking_into_the_folder():
    kinds = all_kinds()

    assert {"bitfit", "full", "lora"} <= set(kind_names())
    assert all(kind.layout == layout for layout, kind in kinds.items())

"""LoRAs that a merge wrote are LoRAs to the library too, and do there what they do here."""

import warnings

import numpy as np
import pytest

from deltareg.client.folders.merged_files import write_lora
from deltareg.client.progress import SILENT
from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.delta.merge.factors import FactorMerging
from deltareg.delta.merge.method import FactorMethod, MergeSettings
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.sides import Parent
from tests import folders
from tests.fixtures.registries import SAMPLES

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")

MERGES = [
    ("cat", "tinyllama", ["lora", "lora_patterns", "lora_embeddings"]),
    ("cat", "tinyllama", ["lora_rslora"]),
    ("cat", "tinygpt2", ["lora", "lora"]),
    ("svd", "tinyllama", ["lora", "lora_dora"]),
    ("svd", "tinygpt2", ["lora"]),
]


@pytest.mark.parametrize(("method", "base", "deltas"), MERGES)
def test_the_library_reads_what_a_merge_wrote(method, base, deltas, tmp_path):
    view, tensors = folders.open_base(SAMPLES / "bases" / base)
    sources = [
        Parent(delta, delta, 0.5 + at, effects(SAMPLES / "deltas" / base / delta, view))
        for at, delta in enumerate(deltas)
    ]
    by_factors = method_named(method)
    assert isinstance(by_factors, FactorMethod)
    merging = FactorMerging(sources, tensors, view, method=by_factors, settings=MergeSettings(rank=3))

    write_lora(merging, tmp_path, [], "F32", SILENT)

    folding = FoldedBase(effects(tmp_path, view), tensors)
    theirs = merged_by_peft(SAMPLES / "bases" / base, tmp_path)
    for name in folding.changed:
        got = np.concatenate(list(folding.blocks(name)))
        assert np.abs(got - theirs[view.names.memory(name)]).max() <= 1e-6, name


def effects(path, view):
    folder = folders.open_folder(path)
    kind, _ = recognise(folder.files, view)
    found = account(kind.parse(folder.files, view), folder.files, folder.tensors, view)
    assert found.is_accepted, found.problems
    return found.effects


def merged_by_peft(base, adapter):
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: value.numpy() for name, value in model.state_dict().items()}

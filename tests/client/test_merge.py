"""Merges through the client: what they fold to, what they are recorded as, what they refuse."""

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from deltareg.client import MergeOptions
from deltareg.delta.delta_manifest import assess
from deltareg.delta.fold import FoldedBase
from deltareg.errors import BaseMismatch, InvalidInput
from deltareg.tensors.array import to_f32, view
from tests import folders
from tests.client.attached import biased_lora
from tests.fixtures.registries import SAMPLES

BASES = {base: folders.open_base(SAMPLES / "bases" / base) for base in ("tinyllama", "tinyllama_bf16", "tinygpt2")}
FOLDABLE = {
    "tinyllama": [
        "lora",
        "lora_v2",
        "lora_rslora",
        "lora_dora",
        "lora_patterns",
        "lora_modules_to_save",
        "lora_embeddings",
        "lora_bf16",
        "full",
        "full_v2",
    ],
    "tinyllama_bf16": ["lora"],
    "tinygpt2": ["lora", "bitfit", "bitfit_delta"],
}
PAIRS = [(base, delta) for base, deltas in FOLDABLE.items() for delta in deltas]
SOME = [
    ("tinyllama", "lora_dora"),
    ("tinyllama", "lora_modules_to_save"),
    ("tinyllama", "full"),
    ("tinyllama_bf16", "lora"),
    ("tinygpt2", "bitfit"),
]
CLOSE = 1e-6


@pytest.fixture(scope="module")
def client(shared_registry):
    """Give a client of a registry that holds every sample, as `team/<base>-<delta>`."""
    found = shared_registry.client()
    for base, deltas in FOLDABLE.items():
        found.bases.push(SAMPLES / "bases" / base, base)
        for delta in deltas:
            found.push(SAMPLES / "deltas" / base / delta, f"team/{base}-{delta}", base=base)
    return found


def merged(client, parents, name, method="linear", **parameters):
    """Merge versions into `team/<name>` and give its reference."""
    options = MergeOptions(method, **parameters)
    return client.merge(parents, f"team/{name}", options=options).pushed.version.ref


@lru_cache(maxsize=24)
def folded(client, ref):
    """Give the base with a version folded in: name -> (dtype, shape, bytes)."""
    version = client.show(ref)
    view_, tensors = BASES[version.base.name]
    convention = str(version.config.get("convention", ""))
    folder = folders.open_folder(client.pull(version.ref).path, convention=convention)
    assessment = assess(folder.files, folder.tensors, view_)
    assert assessment.errors == []
    folding = FoldedBase(assessment.account.effects, tensors)
    found = base_of(version.base.name)
    for name in folding.changed:
        data = b"".join(folding.rows(name))
        found[name] = (folding.dtype(name), folding.shape(name), data)
    for name, tensor in folding.additions.items():
        found[name] = (tensor.dtype, tensor.shape, bytes(tensor.read()))
    return found


def base_of(name):
    return {n: (t.dtype, t.shape, bytes(t.read())) for n, t in BASES[name][1].items()}


def values(tensors):
    """Give tensors of (dtype, shape, bytes) as float64."""
    return {
        name: to_f32(view(data, dtype, shape), dtype).astype(np.float64)
        for name, (dtype, shape, data) in tensors.items()
    }


def changes(client, *refs):
    """Give W and ΔW of each version, float64, as its stored bytes have them."""
    base = values(base_of("tinyllama"))
    found = [values(folded(client, ref)) for ref in refs]
    return base, [{name: own[name] - base[name] for name in base} for own in found]


@pytest.mark.parametrize(("base", "delta"), PAIRS)
def test_a_delta_alone_with_weight_one_folds_to_what_it_folds_to(client, base, delta):
    ref = f"team/{base}-{delta}"

    made = merged(client, [(ref, 1.0)], f"one-{base}-{delta}")

    assert folded(client, made) == folded(client, ref)


@pytest.mark.parametrize(("base", "delta"), SOME)
def test_a_delta_less_itself_folds_to_the_base(client, base, delta):
    ref = f"team/{base}-{delta}"

    made = merged(client, [(ref, 1.0), (ref, -1.0)], f"no-{base}-{delta}")

    assert folded(client, made) == base_of(base)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare", "dare_ties", "della", "breadcrumbs"])
def test_methods_that_drop_nothing_give_back_a_delta_that_is_alone(client, method):
    parameters = {} if method == "task_arithmetic" else {"density": 1.0}

    made = merged(client, [("team/tinyllama-full", 1.0)], f"one-{method}", method, **parameters)

    assert folded(client, made) == folded(client, "team/tinyllama-full")


def largest(change, density):
    """Keep the share of elements that is largest, by sorting all of them."""
    order = np.argsort(-np.abs(change), axis=None, kind="stable")
    kept = np.zeros(change.size, dtype=bool)
    kept[order[: max(1, int(density * change.size))]] = True
    return np.where(kept.reshape(change.shape), change, 0.0)


def slerp(base, a, b, t):
    one, two = base + a, base + b
    cosine = np.vdot(one, two) / (np.linalg.norm(one) * np.linalg.norm(two))
    if abs(cosine) > 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * one + np.sin(t * angle) * two) / np.sin(angle) - base


def ties(a, b, weights, density, *, is_mean):
    parts = [w * largest(c, density) for w, c in zip(weights, (a, b), strict=True)]
    sign = np.where(sum(parts) >= 0, 1, -1)
    agree = [np.sign(part) == sign for part in parts]
    total = sum(np.where(m, p, 0) for m, p in zip(agree, parts, strict=True))
    counted = sum(m * abs(w) for m, w in zip(agree, weights, strict=True))
    return total / np.where(counted == 0, 1, counted) if is_mean else total


def model_stock(a, b):
    cosine = np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)) if np.any(a) and np.any(b) else 0.0
    return 2 * cosine / (1 + cosine) * (a + b) / 2


def karcher(base, a, b):
    """Of two, weighted 0.6 and 0.4: slerp between the directions, as long as the norms' mean."""
    one, two = base + a, base + b
    norms = [np.linalg.norm(one), np.linalg.norm(two)]
    direction = slerp(0, one / norms[0], two / norms[1], 0.4)
    return (0.6 * norms[0] + 0.4 * norms[1]) * direction / np.linalg.norm(direction) - base


def crumbs(change, density, gamma):
    """Keep what is left when the largest are dropped, and then the smallest."""
    order = np.argsort(np.abs(change), axis=None, kind="stable")
    kept, top = int(density * change.size), int(gamma * change.size)
    mask = np.zeros(change.size, dtype=bool)
    mask[order[change.size - top - kept : change.size - top]] = True
    return np.where(mask.reshape(change.shape), change, 0.0)


def sce(a, b):
    energy = np.array([np.sum(a * a), np.sum(b * b)])
    share = energy / energy.sum() if energy.sum() else np.array([0.5, 0.5])
    sign = np.where(a + b >= 0, 1, -1)
    weights = [share[0] * (np.sign(a) == sign), share[1] * (np.sign(b) == sign)]
    divisor = sum(weights)
    return (weights[0] * a + weights[1] * b) / np.where(divisor == 0, 1, divisor)


FORMULAS: dict[str, tuple[dict, tuple, Callable]] = {
    "linear": ({}, (0.7, 0.3), lambda _, a, b: 0.7 * a + 0.3 * b),
    "linear, minus": ({}, (1.0, -0.5), lambda _, a, b: a - 0.5 * b),
    "linear, mean": ({"normalize": True}, (3.0, 1.0), lambda _, a, b: 0.75 * a + 0.25 * b),
    "task_arithmetic": ({"scale": 0.4}, (1.0, 2.0), lambda _, a, b: 0.4 * (a + 2 * b)),
    "slerp": ({}, (0.6, 0.4), lambda w, a, b: slerp(w, a, b, 0.4)),
    "ties": ({"density": 0.3}, (1.0, 1.0), lambda _, a, b: ties(a, b, (1, 1), 0.3, is_mean=True)),
    "ties, sum": (
        {"density": 0.6, "normalize": False, "scale": 0.5},
        (1.0, -2.0),
        lambda _, a, b: 0.5 * ties(a, b, (1, -2), 0.6, is_mean=False),
    ),
    "model_stock": ({}, (1.0, 1.0), lambda _, a, b: model_stock(a, b)),
    "nuslerp": ({}, (0.6, 0.4), lambda w, a, b: slerp(0 * w, a, b, 0.4)),
    "karcher": ({}, (3.0, 2.0), karcher),
    "sce": ({"density": 1.0}, (1.0, 1.0), lambda _, a, b: sce(a, b)),
    "breadcrumbs": (
        {"density": 0.5, "gamma": 0.1, "scale": 2.0},
        (0.5, 0.25),
        lambda _, a, b: crumbs(a, 0.5, 0.1) + 0.5 * crumbs(b, 0.5, 0.1),
    ),
    "magnitude_prune": ({"density": 0.25}, (0.5, 0.5), lambda _, a, b: (largest(a, 0.25) + largest(b, 0.25)) / 2),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_merge_equals_its_formula_in_float64(client, formula):
    parameters, weights, expected = FORMULAS[formula]
    refs = ["team/tinyllama-full", "team/tinyllama-full_v2"]
    base, (a, b) = changes(client, *refs)

    made = merged(
        client,
        list(zip(refs, weights, strict=True)),
        formula.replace(", ", "-"),
        formula.partition(",")[0],
        **parameters,
    )

    got = values(folded(client, made))
    for name, own in base.items():
        want = own + expected(own, a[name], b[name])
        assert np.abs(got[name] - want).max() <= CLOSE * max(1, np.abs(want).max()), name


@pytest.mark.parametrize("pair", [("lora", "lora_rslora"), ("lora_dora", "full"), ("lora", "full")])
def test_kinds_are_merged_with_each_other(client, pair):
    refs = [f"team/tinyllama-{delta}" for delta in pair]
    base, (a, b) = changes(client, *refs)

    made = merged(client, [(refs[0], 0.5), (refs[1], 0.25)], f"mixed-{'-'.join(pair)}")

    got = values(folded(client, made))
    for name, own in base.items():
        assert np.abs(got[name] - (own + 0.5 * a[name] + 0.25 * b[name])).max() <= CLOSE, name


@pytest.mark.parametrize("method", ["breadcrumbs_ties", "della", "della_linear"])
def test_what_is_dropped_by_size_depends_on_nothing_else(client, method):
    parents = [("team/tinyllama-full", 0.5), ("team/tinyllama-lora", 0.5)]
    base, (change, _) = changes(client, "team/tinyllama-full", "team/tinyllama-lora")

    refs = [merged(client, parents, f"{method}-{n}", method, density=0.4) for n in (1, 1)]

    name = "model.embed_tokens.weight"  # only the fine-tune changes it
    moved = values(folded(client, refs[0]))[name] - base[name]
    trained = change[name] != 0
    kept, sizes = moved[trained] != 0, np.abs(change[name][trained])
    assert refs[0] == refs[1]
    share = (moved != 0).mean() if method == "breadcrumbs_ties" else kept.mean()  # of all, of those with a chance
    assert 0.35 < share < 0.45
    assert sizes[kept].mean() > sizes[~kept].mean()


@pytest.mark.parametrize("method", ["dare", "dare_ties"])
def test_what_is_dropped_at_random_follows_from_the_seed(client, method):
    parents = [("team/tinyllama-full", 1.0)]
    base, (change,) = changes(client, "team/tinyllama-full")

    refs = [merged(client, parents, f"{method}-{seed}", method, density=0.25, seed=seed) for seed in (1, 2, 1)]
    tensors = [values(folded(client, ref)) for ref in refs[:2]]

    assert refs[0] == refs[2]
    name = "model.layers.0.mlp.up_proj.weight"
    got = [own[name] - base[name] for own in tensors]
    kept = [moved != 0 for moved in got]
    assert all(0.22 < mask.mean() < 0.28 for mask in kept)
    assert 0.03 < (kept[0] & kept[1]).mean() < 0.1
    assert np.abs(got[0][kept[0]] - 4 * change[name][kept[0]]).max() <= CLOSE


def test_cat_is_exact_and_a_lora(client):
    parents = ["lora", "lora_rslora", "lora_patterns", "lora_bf16"]
    refs = [f"team/tinyllama-{delta}" for delta in parents]
    base, found = changes(client, *refs)
    weights = (0.5, 0.25, -1.0, 2.0)

    made = merged(client, list(zip(refs, weights, strict=True)), "cat", "cat")

    assert client.show(made).kind == "lora"
    got = values(folded(client, made))
    for name, own in base.items():
        want = own + sum(w * c[name] for w, c in zip(weights, found, strict=True))
        assert np.abs(got[name] - want).max() <= CLOSE, name


@pytest.mark.parametrize(
    "sample",
    [
        "tinyllama-lora",
        "tinyllama-lora_rslora",
        "tinyllama-lora_patterns",
        "tinyllama-lora_embeddings",
        "tinyllama_bf16-lora",
        "tinygpt2-lora",
    ],
)
def test_cat_of_one_lora_folds_to_the_same_bits(client, sample):
    made = merged(client, [(f"team/{sample}", 1.0)], f"cat-{sample}", "cat")

    assert client.show(made).kind == "lora"
    assert folded(client, made) == folded(client, f"team/{sample}")


def test_svd_is_the_nearest_of_its_rank_and_says_what_it_lost(client):
    refs = ["team/tinyllama-lora", "team/tinyllama-lora_dora"]
    base, (a, b) = changes(client, *refs)
    options = MergeOptions("svd", rank=3)

    report = client.merge([(refs[0], 0.5), (refs[1], 0.5)], "team/svd", options=options)

    got = values(folded(client, report.pushed.version.ref))
    lost = norm = 0.0
    for name, stated in report.recipe.relative_error.items():
        if name:
            change = (a[name] + b[name]) / 2
            sizes = np.linalg.svd(change, compute_uv=False)
            error = np.linalg.norm(got[name] - base[name] - change)
            assert error == pytest.approx(np.linalg.norm(sizes[3:]), rel=1e-3)
            assert stated == pytest.approx(error / np.linalg.norm(change), rel=1e-3)
            lost, norm = lost + float(error**2), norm + float(np.linalg.norm(change) ** 2)
    assert report.recipe.relative_error[""] == pytest.approx((lost / norm) ** 0.5, rel=1e-3)


def test_the_recipe_and_the_parents_are_kept(client):
    parents = [("team/tinyllama-full", 0.5), ("team/tinyllama-full_v2", 0.5)]

    made = merged(client, parents, "recorded", "ties", density=0.5, dtype="f32")
    recipe = json.loads((client.pull(made).path / "merge.json").read_text())

    version = client.show(made)
    assert version.kind == "full"
    assert version.parents == ["team/tinyllama-full:v1", "team/tinyllama-full_v2:v1"]
    assert recipe["parameters"] == {"density": 0.5, "normalize": True, "scale": 1.0}
    assert recipe["base"] == version.base.root
    assert {e.relation for e in client.versions.lineage(made).up} == {"merged from", "base"}


@pytest.mark.parametrize(
    ("parents", "options", "told"),
    [
        (["lora_dora"], MergeOptions("cat"), "no product of factors"),
        (["full"], MergeOptions("svd", rank=2), "in a way that no LoRA can"),
        (["lora"], MergeOptions("slerp"), "merges 2 versions"),
        (["lora"], MergeOptions("linear", density=0.5), "takes no density"),
        (["lora"], MergeOptions("svd"), "needs the rank"),
        (["lora"], MergeOptions("mean"), "no merge method"),
        (["lora"], MergeOptions("model_stock"), "needs 2 versions"),
        (["lora", "lora", "lora"], MergeOptions("nuslerp"), "merges 2 versions, not 3"),
        (["lora", "lora_v2"], MergeOptions("della", density=0.9), "plus or minus epsilon"),
        (["lora", "lora_v2"], MergeOptions("breadcrumbs", gamma=1.0), "gamma 1.0 is not"),
        ([], MergeOptions(), "nothing to merge"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_the_reason(client, parents, options, told):
    weighted = [(f"team/tinyllama-{delta}", 1.0) for delta in parents]

    with pytest.raises(InvalidInput, match=told):
        client.merge(weighted, "team/refused", options=options)


def test_weights_that_cancel_out_have_no_mean(client):
    parents = [("team/tinyllama-lora", 1.0), ("team/tinyllama-lora", -1.0)]

    with pytest.raises(InvalidInput, match="sum up to zero"):
        merged(client, parents, "refused", normalize=True)


def test_slerp_takes_no_negative_weights(client):
    parents = [("team/tinyllama-lora", 1.0), ("team/tinyllama-full", -1.0)]

    with pytest.raises(InvalidInput, match="negative"):
        merged(client, parents, "refused", "slerp")


def test_parents_must_share_a_base(client):
    parents = [("team/tinyllama-lora", 1.0), ("team/tinyllama_bf16-lora", 1.0)]

    with pytest.raises(BaseMismatch, match="tinyllama_bf16"):
        merged(client, parents, "refused")


def test_what_acts_on_activations_is_refused(client, tmp_path):
    client.push(biased_lora(tmp_path / "delta", 0.01), "team/attached", base="tinyllama")
    parents = [("team/attached", 1.0), ("team/tinyllama-lora", 1.0)]

    plan = client.versions.plan_merge(parents, options=MergeOptions())
    with pytest.raises(InvalidInput, match="acts on activations"):
        merged(client, parents, "refused")

    assert plan.hindrance is not None
    assert not plan.bases_differ
    assert list(plan.conflicts) == []


def test_a_plan_measures_every_pair_in_float64(client):
    refs = ["team/tinyllama-lora", "team/tinyllama-full"]
    base, (a, b) = changes(client, *refs)

    plan = client.versions.plan_merge([(ref, 1.0) for ref in refs], options=MergeOptions())

    found = {row.module: row for row in plan.modules}
    name = "model.layers.1.mlp.up_proj.weight"
    row, one, two = found[name], a[name], b[name]
    both = (one != 0) & (two != 0)
    assert row.sign_agreement == pytest.approx(np.mean(np.sign(one)[both] == np.sign(two)[both]), abs=1e-3)
    assert row.cosine == pytest.approx(np.vdot(one, two) / np.linalg.norm(one) / np.linalg.norm(two), abs=1e-6)
    assert row.relative_b == pytest.approx(np.linalg.norm(two) / np.linalg.norm(base[name]))
    assert found["model.norm.weight"].overlap == 0
    assert (plan.pairs[0].a, plan.pairs[0].b) == tuple(f"{ref}:v1" for ref in refs)

"""Puts samples before the worker's checks without a registry: manifests, cases, engines."""

import json
import time
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.suite import CheckSpec, ProbeSet, Suite, built_in
from deltareg_verify.child.delta_network import account_served, as_served
from deltareg_verify.engine.case import Case, CaseParts

SAMPLES = Path(__file__).parents[1] / "samples"
SMOKE = built_in("smoke")
_DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BOOL": "?"}


@cache
def listed(kind):
    """Give the samples' `deltas` or `bad` by id."""
    entries = json.loads((SAMPLES / "manifest.json").read_text())[kind]
    return {entry["id"]: entry for entry in entries}


def sample_base(name):
    return SAMPLES / "bases" / name


def convention_of(path):
    """State the convention of those samples whose names do not."""
    return "additive" if path.name.endswith("_delta") else ""


class Bench:
    """One delta beside its base, opened as a child would."""

    def __init__(self, path, base, cache_dir, *, device="cpu", suite=SMOKE, convention=""):
        self.base = open_base(base, Cache(cache_dir))
        self.folder = open_folder(path, convention=convention)
        self.suite = suite
        self.device = device
        self.assessment = assess(self.folder.files, self.folder.tensors, self.base.view)
        hashed = hash_folder(self.folder)
        self.manifest = build_delta_manifest(
            self.assessment, delta=self.folder.files, files=hashed.files, digests=hashed.digests, base=self.base.view
        )

    def engine(self, effects=None, *, room=None):
        """Bring base and effects together; the delta's own effects by default."""
        from deltareg_verify.engine.torch_engine import TorchEngine, prepare_device  # dear; not all need it

        device = prepare_device(self.device, threads=1)
        used = self.account.effects if effects is None else effects
        base = as_served(self.base, self.account)
        return TorchEngine(base, used, suite=self.suite, device=device, room=room)

    def plain_engine(self):
        """Bring the delta together with the class that the base's own config names."""
        from deltareg_verify.engine.torch_engine import TorchEngine, prepare_device  # dear, as above

        device = prepare_device(self.device, threads=1)
        return TorchEngine(self.base, self.assessment.account.effects, suite=self.suite, device=device)

    @cached_property
    def account(self):
        """Account for it on the network that it is for, as a child does."""
        from deltareg_verify.engine.torch_engine import class_with_place  # dear, as above

        return account_served(self.folder.files, self.folder.tensors, self.base.view, find_class=class_with_place)

    def case(self, **parts):
        """Make a case, with parts of one's own in place of the real ones."""
        real = {
            "folder": lambda: self.folder,
            "account": lambda _: self.account,
            "engine": lambda account: self.engine(account.effects),
        }
        return Case(
            self.manifest, self.base, suite=self.suite, parts=CaseParts(**real | parts), clock=time.perf_counter
        )


def sample_bench(sample, cache_dir, **options):
    """Open a sample of this repository by its id."""
    entry = listed("bad" if sample.startswith("bad/") else "deltas")[sample]
    path = SAMPLES / entry["path"]
    options = {"convention": convention_of(path), **options}
    return Bench(path, sample_base(entry["base"]), cache_dir, **options)


def read_arrays(path):
    """Read an oracle's tensors as NumPy arrays, bfloat16 widened; its names are not a delta's."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    return {name: _array(raw[start:], **entry) for name, entry in header.items()}


def _array(data, *, dtype, shape, data_offsets):
    part = data[slice(*data_offsets)]
    if dtype == "BF16":
        return (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(part, _DTYPES[dtype]).reshape(shape)


def suite_of(*checks, text=("some text",), tokens=8):
    """Make a suite of `(name, parameters)` or names, all required unless they end with `?`.

    Unlike a suite of a file it may name checks that do not exist, or none.
    """
    specs = []
    for check in checks:
        name, parameters = check if isinstance(check, tuple) else (check, {})
        bare = name.rstrip("?")
        known: dict = dict(CATALOGUE[bare].parameters) if bare in CATALOGUE else {}
        spec = CheckSpec(bare, not name.endswith("?"), {**known, **parameters}, check=bare)
        specs.append(replace(spec, probes="general") if bare == "perplexity" else spec)
    return Suite(
        "made",
        tuple(specs),
        1,
        {"sequences": 2, "tokens": tokens},
        SMOKE.digest,
        sets={"general": ProbeSet("general", texts=tuple(text))},
    )

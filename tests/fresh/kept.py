"""Deltas that lie in folders: a base, a delta, inputs, and what the library that wrote them computes.

`meta.json` says the class, what is tried, and which releases wrote it. `plain.safetensors` is what the
base computes by itself there; where it computes something else here, the network has changed, and
no delta can tell.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.errors import DeltaregError, Refused
from deltareg_verify.engine.torch_engine.networks.calling import call
from deltareg_verify.engine.torch_engine.probe import floating_outputs
from tests.fresh.outcomes import RESULTS, Arrays, Outcome, difference, doubt_of, line_of, refusal_of
from tests.fresh.recipes import quiet
from tests.small_networks import torch, transformers
from tests.verify.bench import Bench

CONVERT = "deltareg convert PATH --out DIR"
TOLERANCE = 1e-4  # of the largest output: other releases compute in another order


def write_case(folder: Path, inputs: Arrays, outputs: Arrays, **meta: Any) -> None:
    """Write what goes into a network and what comes out, beside the base and the delta."""
    save_file({name: np.ascontiguousarray(value) for name, value in inputs.items()}, folder / "inputs.safetensors")
    save_file({name: np.ascontiguousarray(value) for name, value in outputs.items()}, folder / "expected.safetensors")
    (folder / "meta.json").write_text(json.dumps(meta))


def outcome_of(folder: Path, work: Path) -> Outcome:
    """Judge a delta by what the library computed.

    Args:
        folder: Where it lies.
        work: An empty folder for what is folded.
    """
    meta = json.loads((folder / "meta.json").read_text())
    start = Outcome(meta["base"], meta["base"].partition(" ")[0], meta["recipe"], "refused", by=meta.get("by", ""))
    if not _is_base_same(folder, meta["class"]):
        return replace(start, result="not made", message="the base itself answers otherwise by the installed release")
    try:
        bench = Bench(folder / "delta", folder / "base", work / "cache")
    except Refused as refused:
        return _converted(folder, work, refused, start)
    with bench.base, bench.folder:
        return _compared(folder, work, meta["class"], bench, start)


def _converted(folder: Path, work: Path, refused: Refused, start: Outcome) -> Outcome:
    """Do as the refusal says, where it says `convert`, and judge what comes of it."""
    outcome = refusal_of(refused, start)
    if not any(CONVERT in problem.fix for problem in refused.problems):
        return outcome
    shutil.copytree(folder, work / "again", ignore=shutil.ignore_patterns("delta"))
    try:
        with Client(ClientConfig(cache_dir=work / "cache")) as client:
            client.folders.convert(folder / "delta", work / "again" / "delta", base=str(folder / "base"))
    except DeltaregError as error:
        return replace(outcome, converted=f"not converted: {error}")
    (work / "work").mkdir()
    return replace(outcome, converted=outcome_of(work / "again", work / "work").result)


def _compared(folder: Path, work: Path, name: str, bench: Bench, start: Outcome) -> Outcome:
    inputs, want = load_file(folder / "inputs.safetensors"), load_file(folder / "expected.safetensors")
    kind, attached, folded, said = bench.assessment.kind, None, None, ""
    with quiet():
        try:
            attached = _error(bench.engine().outputs_for("attached", inputs), want)
        except Exception as error:  # noqa: BLE001  # as the worker does: it is no pass
            said = f"not attached: {line_of(error)}"
        if kind.foldable:
            folded, more = _folded(name, work, bench, inputs, want)
            said = "; ".join(filter(None, (said, more)))
        doubt = doubt_of(bench)
    is_right = all(error <= TOLERANCE for error in (attached, folded) if error is not None)
    return replace(
        start,
        result=RESULTS[is_right, not doubt],
        kind=f"{kind.name} {kind.variant}".strip(),
        folded=folded,
        attached=attached,
        message="; ".join(filter(None, (said, doubt))),
    )


def _is_base_same(folder: Path, name: str) -> bool:
    file = folder / "plain.safetensors"
    if not file.exists():
        return True
    with quiet():
        plain = run(loaded(name, folder / "base"), load_file(folder / "inputs.safetensors"))
    return _error(plain, load_file(file)) <= TOLERANCE


def _folded(name: str, work: Path, bench: Bench, inputs: Arrays, want: Arrays) -> tuple[float, str]:
    """Fold it, have today's library load the folder by its class, and run it."""
    shutil.rmtree(work / "out", ignore_errors=True)
    fold_folder(bench.base, bench.folder, work / "out")
    try:
        return _error(run(loaded(name, work / "out"), inputs), want), ""
    except (RuntimeError, ValueError, OSError, KeyError) as failed:
        return float("inf"), f"the folded folder does not load: {line_of(failed)}"


def loaded(name: str, folder: Path) -> Any:
    """Load a network by the name of its class in transformers or diffusers."""
    if hasattr(transformers, name):
        return getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    import diffusers

    return getattr(diffusers, name).from_pretrained(folder, torch_dtype=torch.float32).eval()


def run(network: Any, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Run a network, and give its floating outputs by name."""
    given = {name: torch.from_numpy(value.copy()) for name, value in inputs.items()}
    with torch.no_grad():
        return floating_outputs(call(network, given))


def _error(got: Arrays, want: Arrays) -> float:
    """Compare what the library has; later releases may give more beside it."""
    return difference({name: got[name] for name in want if name in got}, want)

"""Assignments as a worker gives them to a child: a delta, its base, and what is known of that."""

from dataclasses import replace

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.delta.base_manifest import base_view
from deltareg.identity.manifest import Manifest
from deltareg.suites.base_probes import draw
from deltareg.suites.suite import built_in
from deltareg_verify.messages.assignment import Assignment, BaseAssignment
from deltareg_verify.messages.base_outputs import OUTPUTS_FILE
from deltareg_verify.messages.report import listen
from tests.verify.bench import Bench

WALL_S = 600.0


def lay_out(folder, base, delta, *, suite="smoke", device="cpu", convention=""):
    """Write into a folder what a child is told of a delta; gives the assignment."""
    bench = Bench(delta, base, folder / "cache", convention=convention)
    opened = open_base(base, Cache(folder / "cache"))
    (folder / "manifest.json").write_bytes(bench.manifest.encode())
    (folder / "base.json").write_bytes(opened.manifest.encode())
    (folder / "suite.json").write_bytes(built_in(suite).document)
    for name in ("own", "probes"):
        (folder / name).mkdir()
    return Assignment(
        delta=delta,
        manifest=folder / "manifest.json",
        base=base,
        base_manifest=folder / "base.json",
        model_type=str(opened.view.config["model_type"]),
        suite=folder / "suite.json",
        probes=folder / "probes",
        scratch=folder / "own",
        device=device,
        threads=0,
        wall_s=WALL_S,
        memory_bytes=0,
    )


def with_figures(zygote, assignment):
    """Draw the base's probes and measure it, in a child of its own; gives what every run on it gets."""
    manifest = Manifest.decode(assignment.base_manifest.read_bytes())
    probes, figures = (assignment.suite.with_name(f"base-{n}") for n in ("probes", "figures"))
    view = base_view(manifest)
    probes.write_bytes(draw(str(view.root), view.config).encode())
    scratch = assignment.scratch.with_name("measuring")
    scratch.mkdir()
    delivery = assignment.scratch.with_name("delivered")
    delivery.mkdir()
    told = BaseAssignment(
        base=assignment.base,
        base_manifest=assignment.base_manifest,
        model_type=assignment.model_type,
        suite=assignment.suite,
        probes=probes,
        scratch=scratch,
        device=assignment.device,
        threads=0,
        wall_s=WALL_S,
        memory_bytes=0,
        delivery=delivery,
    )
    found = listen(zygote.run(b"measure " + told.encode(), wall_s=WALL_S)).figures
    assert found is not None, "the base takes no probes"
    figures.write_bytes(found.encode())
    outputs = delivery / OUTPUTS_FILE
    known = outputs if outputs.exists() else None
    return replace(assignment, base_probes=probes, base_figures=figures, base_outputs=known)

"""Every pair of operations that change something, at every pause: some in the suite, all in the soak."""

import os
import shlex
import time
from contextlib import contextmanager

import pytest

from deltareg.service.channels import floors
from tests.api.world import routes
from tests.pairs.explore import Explored, Explorer
from tests.pairs.operations import UNEXPLORED
from tests.pairs.state import broken_promises, canonical, differences
from tests.pairs.world import opened_world

SYSTEMS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
# Those that were wrong once, and one of each kind of race that the rules are about.
COVERING = {
    "sqlite": [
        ("move", "collect"),
        ("move-near", "collect"),
        ("push", "collect"),
        ("push-same", "move-near"),
        ("version-delete", "push"),
        ("complete", "cancel-running"),
        ("promote", "policy"),
        ("namespace-rename", "push"),
    ],
    "postgresql": [
        ("floor", "floor-other"),
        ("quota", "quota"),
        ("quota", "quota-lines"),
        ("token", "token"),
        ("key", "key"),
        ("trust", "trust"),
        ("policy", "policy-other"),
        ("promote", "rollback"),
        ("member-end", "member"),
        ("complete", "cancel-running"),
    ],
}
# What frees, moves, ends or limits: the third is one of them as well.
DANGEROUS = (
    "collect", "move", "move-near", "line-delete", "version-delete", "retention", "namespace-rename", "disable",
    "owner-end", "floor", "promote", "rollback", "push", "push-same", "push-abort", "webhook-rotate",
)  # fmt: skip


@contextmanager
def explorer(request, tmp_path, system):
    """Open a world on a system, and give who explores it."""
    s3, store_url = None, (tmp_path / "blobs").as_uri()
    if system.endswith("-s3"):
        store_url = f"s3://{request.getfixturevalue('fresh_bucket')()}/registry"
        s3 = request.getfixturevalue("swift_endpoint").options()
    url = request.getfixturevalue(f"{system.removesuffix('-s3')}_url")
    with opened_world(url, store_url, tmp_path, s3=s3) as world:
        yield Explorer(world, system=system)


@pytest.fixture(params=SYSTEMS)
def exploring(request, tmp_path):
    """Explore a registry on each of both databases."""
    with explorer(request, tmp_path, request.param) as found:
        yield found


def test_every_route_that_changes_something_has_an_operation_or_says_why_not(request, tmp_path):
    with explorer(request, tmp_path, "sqlite") as found:
        explored = {operation.route for operation in found.world.operations.values()}

    changing = {route for route in routes() if route.split()[0] in {"POST", "PUT", "PATCH", "DELETE"}}
    assert explored | UNEXPLORED.keys() == changing, "make an operation in tests/pairs/operations.py"
    assert not explored & UNEXPLORED.keys()


def test_an_operation_alone_is_done_and_leaves_the_same_each_time(exploring):
    world, wrong = exploring.world, []
    for name, operation in world.operations.items():
        states = []
        for _ in range(2):
            world.reset()
            (answer,) = world.run_in_turn(operation)
            rows, changed = world.read()
            states.append(canonical(rows))
        problems = [] if answer.status_code < 300 else [answer.text]
        problems += differences(*states) + broken_promises(world.engine, world.store, rows, changed)
        wrong += [(name, problem) for problem in problems]

    assert wrong == []


def test_pairs_leave_what_one_after_the_other_leaves(exploring):
    found = Explored()
    for a, b in COVERING[exploring.system]:
        found.add(exploring.explore(a, b))

    assert found.violations == [], report(found)
    assert found.schedules > len(COVERING[exploring.system])


@pytest.mark.postgres
def test_a_floor_that_is_set_without_a_lock_is_found(request, tmp_path, monkeypatch):
    monkeypatch.setattr(floors, "lock_name", lambda *_: None)

    with explorer(request, tmp_path, "postgresql") as found:
        violations = found.explore("floor", "floor-other").violations

    assert violations
    assert violations[0][0].startswith("python -m tests.pairs floor floor-other ")
    assert "no order of one after the other" in violations[0][1][0]


@pytest.mark.soak
def test_chosen_pairs(request, tmp_path):
    """Explore all pairs, those of one operation, or run one schedule: `python -m tests.pairs` says which."""
    chosen = shlex.split(os.environ.get("DELTAREG_PAIRS", "all"))
    for system in os.environ.get("DELTAREG_PAIRS_ON", "sqlite postgresql").split():
        (tmp_path / system).mkdir()
        with explorer(request, tmp_path / system, system) as found:
            explored = explore_chosen(found, chosen)
        assert explored.violations == [], report(explored)


@pytest.mark.soak
def test_triples(request, tmp_path):
    """Run two dangerous operations at each pause of a third."""
    for system in os.environ.get("DELTAREG_PAIRS_ON", "sqlite postgresql").split():
        (tmp_path / system).mkdir()
        with explorer(request, tmp_path / system, system) as found:
            explored = Explored()
            for a in DANGEROUS:
                for b in DANGEROUS:
                    for at in found.pauses_that_matter(a, b):
                        explored.add(three(found, a, b, at))
        print(f"\n{system}: {report(explored)}")
        assert explored.violations == []


def three(found, a, b, at):
    explored = Explored(pairs=1, pauses=1)
    for c in DANGEROUS:
        explored.schedules += 1
        problems = found.run_three(a, b, c, at)
        if problems:
            explored.violations.append((f"{a} {b} {c} at {at} on {found.system}", problems))
    return explored


def explore_chosen(found, chosen):
    names = list(found.world.operations)
    if len(chosen) == 3:
        a, b, at = chosen
        problems = found.run(a, b, int(at))
        return Explored(1, 1, 1, [(found.line(a, b, at), problems)] if problems else [])
    firsts = names if chosen == ["all"] else chosen[:1]
    explored, began = Explored(), time.monotonic()
    for a in firsts:
        for b in chosen[1:2] or names:
            one = found.explore(a, b)
            for violation in one.violations:
                print(*violation[:1], *violation[1], sep="\n    ", flush=True)
            explored.add(one)
    seconds = time.monotonic() - began
    print(f"\n{found.system}, {len(names)} operations: {report(explored)}, in {seconds:.0f} s", flush=True)
    return explored


def report(explored):
    """Say what was explored, and what was found, each with the line that runs it again."""
    lines = [f"{line}\n    " + "\n    ".join(map(str, problems)) for line, problems in explored.violations]
    head = f"{explored.pairs} pairs, {explored.schedules} schedules, {len(lines)} violations"
    return "\n".join([head, *lines[:20]])

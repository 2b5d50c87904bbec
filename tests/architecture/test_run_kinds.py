"""Every kind of run has its file on both sides, and its place in the database."""

import sqlalchemy as sa

from deltareg.db.tables import runs
from deltareg.service.runs.kinds import RUN_KINDS as QUEUED
from deltareg.words import RUN_KIND_NAMES
from deltareg_verify.supervisor.runs import RUN_KINDS as CARRIED_OUT
from tests.architecture.tree import REPOSITORY

SIDES = ("registry/deltareg/service/runs/kinds", "gpu_verify/deltareg_verify/supervisor/runs")


def test_the_wire_the_server_and_the_worker_know_the_same_kinds():
    assert set(RUN_KIND_NAMES) == QUEUED.keys() == CARRIED_OUT.keys()


def test_each_side_has_one_file_a_kind():
    own = [{path.stem for path in (REPOSITORY / side).glob("*.py")} for side in SIDES]

    assert own == [{*RUN_KIND_NAMES, "__init__", "kind"}, {*RUN_KIND_NAMES, "__init__"}]


def test_the_database_takes_every_kind():
    (check,) = [
        found for found in runs.constraints if isinstance(found, sa.CheckConstraint) and found.name == "ck_runs_what"
    ]

    assert all(f"'{name}'" in str(check.sqltext) for name in RUN_KIND_NAMES)

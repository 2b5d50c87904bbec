"""What a resolve looks at does not grow with the registry: no statement of it walks a table."""

import pytest

from deltareg.db.session import glance
from deltareg.refs import Ref
from deltareg.service.resolve import look_up

WALKED = "SCAN"
# What was found, which is as many rows as channels serve it; who asks, and the groups that they are in.
OURS = {"SCAN found LEFT-JOIN", "SCAN holders", "SCAN CONSTANT ROW"}


@pytest.mark.parametrize("ref", ["lab/x:v1", "lab/x", "lab/x@prod", "lab/x@prod#1"])
@pytest.mark.parametrize("bare", ["newest", "prod"])
def test_no_statement_of_a_resolve_walks_a_table(sqlite_engine, ref, bare):
    with glance(sqlite_engine) as conn:
        driver = conn.connection.driver_connection
        statements = traced(driver, lambda: look_up(conn, "0" * 64, ref=Ref.parse(ref), bare=bare))
        steps = [step for text in statements for step in plan(driver, text)]

    assert any("tokens" in step for step in steps)
    assert {step for step in steps if step.startswith(WALKED)} <= OURS


def traced(driver, act):
    """Give the statements that run meanwhile, with their values."""
    found: list[str] = []
    driver.set_trace_callback(found.append)
    act()
    driver.set_trace_callback(None)
    return found


def plan(driver, text):
    return [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}")]

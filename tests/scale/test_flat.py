"""What calls read of a registry does not grow with its versions: rows of PostgreSQL, steps of SQLite.

Of 20,000 versions on, a filled registry has as many namespaces, people, agents and bases as it gets:
a smaller one answers less where these are listed.
"""

import pytest

from tests.benchmarks.growth_calls import Asked, growth_calls, names_of
from tests.benchmarks.statement_counts import StatementCounter
from tests.pages.conftest import browser
from tests.scale.filled import DATABASES, empty_database, fill, live_template, serving
from tests.scale.plan import FillPlan

LESS, MORE = 20_000, 60_000
SPARE = {"sqlite": 20, "postgresql": 500}  # thousands of steps, rows
# What adds up or walks what there is of a line, a queue or the store, or all lines, and so answers more.
ANSWERS_MORE = {
    "base ls",
    "page bases",
    "page kept",
    "ls by label",
    "ls, 200 rows",
    "ls by verdict fail",
    "hub refs",
    "queue",
    "page runs",
    "page lineage",
    "page plan",
    "page storage",
    "gc plan",
    "stats",
    "stats of a line",
    "stats of a namespace",
    "search, a common and a rare word",
    "search in a line",
    "audit checkpoint",
}


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", DATABASES)
def test_calls_read_no_more_of_three_times_the_versions(kind, tmp_path):
    less, more = (read_of(kind, tmp_path / str(size), size) for size in (LESS, MORE))

    grown = {name: (less[name], more[name]) for name in less if more[name] > 2 * less[name] + SPARE[kind]}
    assert {name: rows for name, rows in grown.items() if name not in ANSWERS_MORE} == {}


def read_of(kind, folder, size):
    """Fill a registry and count what each call reads of it."""
    folder.mkdir()
    found = {}
    with empty_database(kind, folder) as url:
        fill(url, folder, FillPlan(size), live_template(url, folder, tensors=8))
        with serving(url, folder) as server, browser(server, server.admin_token) as pages:
            counter = StatementCounter(server.registry.engine)
            api = server.http(server.admin_token)
            api.base_url = server.url
            (number,) = names_of(api, "scale0/line0")
            asked = Asked(api, pages, "scale0/line0", "scale1/line1", "scale-base-000", number, "line1")
            for call in growth_calls():
                call.ask(asked)
                with counter.counting() as counts:
                    call.ask(asked)
                found[call.name] = counter.rows_read(counts)
    return found

"""Texts of a worker about a run, without names that readers of its version may not see.

A worker serves all namespaces and refers to bases by name. If a version stands on something of
another namespace, not all its readers may see that name, so it is removed from what is stored.
"""

from collections.abc import Callable

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.service.corrupt import UNSEEN
from deltareg.service.describe import line_of, ref_of
from deltareg.service.ledger.references import references_of


def make_redactor(conn: sa.Connection, run: RunRow | ShownRunRow) -> Callable[[str], str]:
    """Return a function that removes the names of other namespaces from a text about a run."""
    if run.version_id is None:
        return str
    version = version_queries.version_by_id(conn, run.version_id)
    below = [] if version.base_id is None else stacks.stack_below(conn, version.base_id)
    names = {version.base_name or "", run.request.get("variant", "")}
    for part in below:
        names |= {ref_of(part), str(line_of(part)), part.base_name or ""}
    own = version.namespace
    foreign = [name for name in names if "/" in name and name.partition("/")[0] != own]
    # Those of a suite are of the own namespace, and their verdict names them.
    for one in () if run.what == "verify" else references_of(run.request).values():
        line = one.ref.partition(":")[0]
        foreign += [one.ref, line] if line and line != str(line_of(version)) else []
    ordered = sorted(foreign, key=len, reverse=True)

    def redact(text: str) -> str:
        for name in ordered:
            text = text.replace(name, UNSEEN)
        return text

    return redact

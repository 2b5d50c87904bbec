"""The form in which an engine writes rows: packed, unless servers are left that cannot read that.

Form 0 is as before revision 0053, form 1 packs envelopes and checks beside a known text. Every form
is always read. Which one is written stands in the database (`deltareg-migrate finish`).
"""

from typing import Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa

NEWEST: Final = 1
"""The newest form that this release reads and writes."""
READ_FROM: Final = {1: "0053"}
"""The revision of the first servers that read a form."""
_PACKED: Final = 1
_OF_DIALECT: Final[WeakKeyDictionary[sa.Dialect, int]] = WeakKeyDictionary()


def write_form(engine: sa.Engine, form: int) -> None:
    """Have an engine write rows in a form from now on; one that was never told writes the newest."""
    _OF_DIALECT[engine.dialect] = form


def packs_rows(dialect: sa.Dialect) -> bool:
    """Whether the engine of a dialect packs what it writes."""
    return _OF_DIALECT.get(dialect, NEWEST) >= _PACKED

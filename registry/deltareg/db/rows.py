"""The type of a row: columns by name, whatever the query selected."""

from typing import Any

import sqlalchemy as sa

Row = sa.Row[*tuple[Any, ...]]

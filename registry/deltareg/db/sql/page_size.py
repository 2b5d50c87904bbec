"""How many rows a page has, written into its query."""

import sqlalchemy as sa


def rows_at_most(limit: int) -> sa.ColumnElement[int]:
    """Return a limit as part of the SQL's text, of which there are few.

    Of a parameter PostgreSQL expects that it takes a tenth of all rows; so a prepared query of a page
    would be planned anew each time, which takes longer than to run it.
    """
    return sa.literal_column(str(int(limit)), sa.Integer)

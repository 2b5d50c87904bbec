"""One query a function; each takes a Connection and values and opens no transaction.

What many queries begin with is put together once: SQLAlchemy takes longer for it than the database
for its answer.
"""

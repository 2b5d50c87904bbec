"""The database: tables, transactions and queries. It knows rows, not rules.

The same code serves two databases: SQLite (one machine) and PostgreSQL (many). Only
`deltareg_migrations` makes the schema; this package states the revision that it was written for.
"""

HEAD = "0061"
"""The schema revision that this code needs; a test keeps it equal to the newest migration."""

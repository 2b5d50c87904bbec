"""The database: tables, transactions and queries; it knows rows and no rules.

Two databases are served by the same code, SQLite (one machine) and PostgreSQL (many). The schema is
made by `deltareg_migrations` alone; this package only says which revision it was written for.
"""

HEAD = "0037"
"""The schema revision that this code needs; a test keeps it equal to the newest migration."""

"""One query a function; each takes a Connection and values and opens no transaction."""

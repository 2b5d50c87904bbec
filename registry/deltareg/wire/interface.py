"""Which interface this release speaks; both are read by programs that need no message."""

SCHEMA_VERSION = 1
API = "/api/v1"

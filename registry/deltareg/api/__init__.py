"""The HTTP API: routes that parse, call one use case, and answer. Rules live in `service`."""

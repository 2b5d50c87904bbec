"""What a server says of itself: its log, metrics and traces, and what it records for `server doctor`."""

"""The messages between supervisor and child: assignments, requests, reports and figures."""

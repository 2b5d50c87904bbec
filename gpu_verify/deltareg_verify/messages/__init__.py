"""What supervisor and child say to each other: assignments, requests, reports and figures."""

"""The worker itself: it leases runs, prepares materials and sends the children's reports."""

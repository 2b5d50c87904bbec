"""The worker itself: it leases runs, gets materials ready and reports what children found."""

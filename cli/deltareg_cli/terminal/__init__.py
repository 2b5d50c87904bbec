"""What people see: blocks to show, their drawing, progress, and the one place that prints."""

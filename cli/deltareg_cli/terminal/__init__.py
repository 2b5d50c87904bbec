"""What people see: values to show, their drawing, progress, and the one place that prints."""

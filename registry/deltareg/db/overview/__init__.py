"""What is shown at a glance, each by one statement."""

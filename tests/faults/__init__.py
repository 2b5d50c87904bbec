"""Real processes killed, frozen, cut off and starved; what was promised holds."""

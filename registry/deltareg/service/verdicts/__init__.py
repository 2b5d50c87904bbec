"""What verifications found: suites, verdicts, waivers, and the facts that rules take from them."""

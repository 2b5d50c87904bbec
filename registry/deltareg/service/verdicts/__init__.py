"""The results of verification: suites, verdicts, waivers, and the facts that rules take from them."""

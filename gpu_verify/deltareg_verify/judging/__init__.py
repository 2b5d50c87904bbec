"""From what was measured to a finding: a check, a case and a verdict."""

"""Commands that verify, sign, gate, promote and roll back."""

"""`deltareg-server doctor`: why was it slow, when is the disk full, what is stuck; and a bundle for support."""

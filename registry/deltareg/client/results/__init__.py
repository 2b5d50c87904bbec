"""What the client's longer methods give back."""

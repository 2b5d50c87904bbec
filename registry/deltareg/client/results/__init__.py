"""Results of the client's longer methods."""

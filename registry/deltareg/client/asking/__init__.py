"""Questions to the server that more than one room of the client has."""

"""Pull: what is here already is found, what is not is fetched and checked."""

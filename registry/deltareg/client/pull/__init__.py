"""Pull: finds what is here already, and fetches and checks what is not."""

"""Cases of a third set that other libraries made, with their own outputs beside them."""

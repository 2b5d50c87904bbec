"""How the registry's objects look to people, as blocks that several commands share."""

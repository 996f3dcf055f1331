"""The families of rules. Each rule in a module here is in the catalogue, with all that is known of it."""

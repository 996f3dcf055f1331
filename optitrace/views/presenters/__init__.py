"""Results as they are shown: a module for each kind, with what writers take of it."""

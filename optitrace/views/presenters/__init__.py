"""The presenters of results: a module for each kind."""

"""Views of results, which they neither change nor recompute."""

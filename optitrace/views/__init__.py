"""How a result is shown. A view knows results, changes none, and recomputes nothing."""

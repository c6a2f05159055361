"""A daemon's place taken by its successor, with no connection refused and no answer cut."""

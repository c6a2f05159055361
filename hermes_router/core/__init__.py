"""The values that everything speaks: frozen, pure, without I/O, clock or randomness."""

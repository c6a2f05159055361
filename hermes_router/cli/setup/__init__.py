"""`hr setup`: from nothing to a real answer."""

"""`hr demo`: the router on fake providers, shown at work."""

"""Fake providers over real HTTP, for `hr demo` and the tests. Imports nothing of ours."""

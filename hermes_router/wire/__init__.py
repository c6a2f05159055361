"""Bytes and JSON to core values and back: sans-IO, one module a dialect."""

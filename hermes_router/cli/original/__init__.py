"""The original hermes-router on this machine: found, read, and taken over from."""

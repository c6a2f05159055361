"""The public API on :8319: HTTP in, nothing else."""

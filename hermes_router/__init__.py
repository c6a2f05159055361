"""hermes-router: one local endpoint backed by every model key its owner holds."""

__version__ = "0.1.0"

"""Facts about providers and models, as TOML."""

"""The use cases: one exchange, its attempts, its relay. Async; sees the world through core.ports."""

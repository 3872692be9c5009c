"""Functions without parameters. Each has a naive twin in tests/reference."""

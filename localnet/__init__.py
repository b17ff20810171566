"""localnet."""

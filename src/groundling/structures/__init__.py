"""Typed values that cross the borders between packages."""

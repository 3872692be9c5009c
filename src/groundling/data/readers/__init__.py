"""One reader for each format; all yield the same records."""

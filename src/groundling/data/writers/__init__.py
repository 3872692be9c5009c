"""One writer for each format, filled record by record."""

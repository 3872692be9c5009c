"""Pictures with labelled objects: made here or read from files."""

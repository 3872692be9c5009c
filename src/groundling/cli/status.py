"""Exit statuses."""

PROBLEM = 1
"""The command did its work and found something wrong: pictures, data, or what a model could not learn."""

MISTAKE = 2
"""The command or its files cannot be used."""

INTERRUPTED = 130

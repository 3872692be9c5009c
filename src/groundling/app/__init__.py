"""A page in the browser: what `groundling app` serves."""

"""The shell command `groundling`: one file a verb. Heavy packages are imported inside the verb that needs them."""

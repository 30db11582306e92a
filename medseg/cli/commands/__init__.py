"""One module a group of commands: each lists its own in `COMMANDS`, or has an `app` of its own."""

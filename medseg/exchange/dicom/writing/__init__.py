"""Objects for an archive: each is read back by its plain headers and compared before it appears."""

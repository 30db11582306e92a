"""Pictures for people: slices, masks over them, outlines."""

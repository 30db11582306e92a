"""The service: it watches an archive, segments what its routes are for, stores the results; nobody need watch it."""

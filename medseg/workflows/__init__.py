"""What medseg does, as verbs. Read these first."""

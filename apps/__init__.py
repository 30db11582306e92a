"""Where people come in: thin programs over medseg.workflows."""

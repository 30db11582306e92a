"""What medseg does, as verbs. Read these first.

`scans` come in, `segmenting` makes masks and findings of them, `results` are opened and handed on, `reviewing` looks at
what readers did, `retraining` learns from it, `training` makes `models`.
"""

"""`python -m medseg.cli`, the same as `medseg`."""

from medseg.cli import main

main()

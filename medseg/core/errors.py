"""What can go wrong, as a tree.

    MedsegError
      InputError      what was given cannot be used (a series with a gap, the wrong modality, a label not in the schema)
        GeometryError two grids that should match do not, or a grid that cannot exist
      PlanError       a plan that cannot be built or does not fit in memory
      StoreError      a model that is missing, altered, or not allowed to be promoted
      UnreachableError  another machine does not answer, or not now: the same may work later
        NoEntryError  it does not let us in: the same works once a person has mended a name or a password

Every message says what was wrong, what was got (numbers and file), and how to mend it. The command line prints
the message and exits 2, the viewer shows it in the page, a job stores it. A traceback is for bugs only.
"""


class MedsegError(Exception):
    """The root of all errors that a user can mend."""


class InputError(MedsegError):
    """What was given cannot be used."""


class GeometryError(InputError):
    """Two grids that should match do not, or a grid that cannot exist in a patient."""


class PlanError(MedsegError):
    """A plan that cannot be built, does not suit the data, or does not fit in memory."""


class StoreError(MedsegError):
    """A model that is missing, altered, or not allowed to be promoted."""


class UnreachableError(MedsegError):
    """Another machine does not answer, or says that it cannot now: the same may work later."""


class NoEntryError(UnreachableError):
    """Another machine does not let us in: the same works once a person has mended a name or a password."""

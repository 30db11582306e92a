"""Work that waits its turn: jobs as data, a queue that survives kill -9, and engines that work it off.

Nothing here knows a workflow. An engine is given, when it is made, the function that starts a worker.
"""

"""The folder of one job of the service: its scan, its result, and what the result is sent as, each in a folder."""

IMAGES, RESULT, OBJECTS = "images", "result", "objects"

RESULT_REPORT = f"{RESULT}/report.json"
"""What is there once the result is."""

"""What comes in: an archive that is watched, a listener that is sent to, and the routes that choose among their series."""

"""What comes in: an archive that is watched, a listener that is sent to, the routes that choose."""

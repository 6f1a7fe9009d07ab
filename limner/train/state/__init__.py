"""Training state on disk, to resume exactly."""

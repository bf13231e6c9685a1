"""Camera host: drop directory to object store to event, nothing lost."""

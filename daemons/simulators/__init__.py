"""An observatory and a camera that behave like real ones."""

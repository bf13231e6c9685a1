"""The `arriero` command, a module per command group, and the wiring of services."""

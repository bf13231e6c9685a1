"""What every service stands on: settings, life cycle, logs, metrics, health, time."""

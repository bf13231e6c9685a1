"""Camera host: drop directory to object store to event, nothing lost.

`service.Forwarder` is the service, `operations.add_routes` its part of the admin API.
"""

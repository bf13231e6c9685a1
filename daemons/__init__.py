"""The services of arriero and what they share.

Floors, from the top: `cli`, the services, `bus` and `storage`, `events`,
`runtime`. An import never climbs; services never import each other.
"""

"""Translate and check very many headers, over processes or a cluster.

`judge` looks at one batch; `processes` and `cluster` spread batches; `tally` adds up.
Nothing here keeps state or touches a network of its own: the caller says which
images, how their bytes are opened, and remembers what was found.
"""

"""The control bus in a file, and out of it again.

`file` has the form on disk, `record` writes what a bus delivers, `replay` sends it
again, `shift` moves it to another time.
"""

"""What a FITS file is: inspect, translate, check.

Pure: no network, no daemon, nothing else of ours. A data engineer or a Butler
environment can use this package alone.
"""

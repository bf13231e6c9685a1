"""Reading FITS files: blocks, cards and checksums, without a FITS library."""

"""An observatory and a camera that behave like real ones.

`SimulatedNight` is the whole: it plans a night, publishes its telemetry and events on
the control bus, and writes the files of its exposures. `Observatory` and `Camera` can
also run alone, in processes of their own.

Clocks: everything happens at instants of the plan (TAI). `SimulatedClock` tells the
present one; the control bus that the observatory publishes on should stamp with it, so
that `private_sndStamp` and the time stamps inside the payloads agree at either pace. The
camera takes its times from the events alone; deadlines (waiting for a header, waiting
for the camera) run on the machine's own clock.

Nothing is imported here: the writer of FITS files brings astropy with it, and who only
wants the settings (`daemons.simulators.settings`) should not wait for that.
"""

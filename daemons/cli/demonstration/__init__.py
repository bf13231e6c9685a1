"""The demonstration: a simulated night through the real services, and the proof that it arrived."""

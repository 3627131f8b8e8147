"""A small compiler from plain integer Python to machine code, for the CPUs next door."""

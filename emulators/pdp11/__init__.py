"""The PDP-11 processors and machines."""

if __name__ != "anachron.emulators.pdp11":
    raise ImportError("import anachron.emulators.pdp11, not pdp11")

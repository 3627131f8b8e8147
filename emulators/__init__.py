"""The machines: they stand alone and run any image, not only ours."""

if __name__ != "anachron.emulators":
    raise ImportError("import anachron.emulators, not emulators; run `pip install -e .` first")

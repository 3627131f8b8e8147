"""What each kernel means, and its code for each target."""

if __name__ != "anachron.kernels":
    raise ImportError("import anachron.kernels, not kernels; run `pip install -e .` first")

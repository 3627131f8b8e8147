"""Program text or checkpoint in, machine image out."""

if __name__ != "anachron.compiler":
    raise ImportError("import anachron.compiler, not compiler; run `pip install -e .` first")

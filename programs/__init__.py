"""Model texts, weights and tokenizers."""

if __name__ != "anachron.programs":
    raise ImportError("import anachron.programs, not programs; run `pip install -e .` first")

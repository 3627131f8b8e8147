"""Code generators, one folder each."""

"""Attention of int16 vectors kept as two bytes a number: sums of each byte in residues."""

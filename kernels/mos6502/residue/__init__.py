"""int8 weights, int16 vectors: sums kept as residues, in the moduli that cost a 6502 nothing."""

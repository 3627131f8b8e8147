"""int8 weights, int8 vectors: two residues a sum, and what happens where two do not suffice."""

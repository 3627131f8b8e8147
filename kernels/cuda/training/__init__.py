"""Kernels that train: the text of Numba CUDA, a warp for each training.

A step's values lie in the warp's part of shared memory, a word a number: a linear integer, or the
float of its code.  The product of two codes, which other machines look up in a table, is here one
multiplication of floats that is rounded as it is added to its sum: tables.py.

Names that exist where the lines are put: sm (shared memory), mine (the training's weights in global
memory), scales and rate_at (what updates multiply by), w (the warp's part of shared memory), lane,
lane4 (four times it) and spare (where the lane may write what nobody reads).
"""

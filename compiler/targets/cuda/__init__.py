"""Numba CUDA, compiled to PTX; run on a GPU, or interpreted."""

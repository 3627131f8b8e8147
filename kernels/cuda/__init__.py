"""Kernels for NVIDIA GPUs: the text of Numba CUDA, one block of threads, for given shapes.

plain.py is a whole kernel to read first.  tiles.py, lanes.py and heads.py are the fast forms of one
stream: values in registers, weights on tensor cores, a warp a head.  The files named like the
contracts are the general forms, of any shape: values in shared memory, an element a thread.

Each function gives the lines of one op, to be put into a kernel in which these names exist:

    sm, gm           shared and global memory, read and written by byte offset (intrinsics.py)
    tid, lane, warp  the thread, its place in its warp of 32, and the warp's number
    p, token         the position, and the id that stands there

Integers have 32 bits unless a line says 64.  In the general forms, except for norms, rope and
attention, an op reads of its inputs only the element that it writes, in the same thread: two such
ops in a row need no barrier.  Barriers are the business of whoever puts the lines together.
"""

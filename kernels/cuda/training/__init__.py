"""Kernels that train: the text of Numba CUDA, a warp for each training.

A step's values lie in the warp's part of shared memory, a word a number: a linear integer, or the
code of one as a place in the table of products.  That table has a column of its own for every lane,
so that 32 lanes look up 32 products at once, whatever they are: the address of a product is the sum
of two words, and a sum below the table is none at all.

    word of a code c with sign s   128 * (3 * c/2 + s)      the sum of two: s is 0, 1 or 2
    product                        table[max(sum, -128) / 128][lane], the row of -128 being 0

Names that exist where the lines are put: sm (shared memory), mine (the training's weights in global
memory), w (the warp's part of shared memory), lane, lane4, below (lane4 - 128) and cut.
"""

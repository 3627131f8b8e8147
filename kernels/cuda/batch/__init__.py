"""Kernels for thousands of streams: the text of Numba CUDA, a warp for sixteen streams.

Tensor cores multiply sixteen rows at once, so a warp takes sixteen streams.  A lane holds two
numbers of every eight of two streams: in the words of mma's fragments, lane = 4 group + place, its
streams are `group` and `group + 8`, its features those that an Order (fragments.py) gives to its
place.  Nothing ever moves between lanes but the sums of a norm and the largest of the logits, for

    what a matrix gives in one order is what the next one reads: its weights are stored in it;
    the order of queries, keys and values puts a head into a lane, so attention is a lane's own.

Names that exist where the lines are put: sm and gm (shared memory, constants), mine (this warp's
memory for keys and values), scores (what is left of shared memory), lane, place, lane16, lane8,
place16, place8 (those times bytes), p (the position), token0 and token1.
"""

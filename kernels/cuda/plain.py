"""A kernel to read first: one matrix, one choice, nothing clever.

Everything that the fast kernels do is here once in its simplest form: a thread takes rows, values
wait in shared memory, barriers stand where one thread reads what another wrote, and integers have
32 bits because every operand is made so.  It runs on a GPU, and, with NUMBA_ENABLE_CUDASIM=1 in the
environment, in Numba's simulator, which is Python: tests/test_cuda_plain.py does that.

To read on: tiles.py multiplies the same matrix on tensor cores, sampling.py finds the same id
without shared memory.
"""

from __future__ import annotations

from numba import cuda, int32

THREADS = 64


@cuda.jit
def next_id(x, weight, bias, shift, logits, chosen):  # type: ignore[no-untyped-def]
    """logits = saturate((weight @ x + bias) >> shift), and the smallest id with the largest.

    x       (columns,)       int16        columns at most THREADS
    weight  (rows, columns)  int8
    bias    (rows,)          int32        shift  an integer
    logits  (rows,)          int16, out   chosen (1,) int32, out

    One block of THREADS threads.
    """
    thread = cuda.threadIdx.x
    columns = x.shape[0]

    # The vector comes once from slow memory, each thread fetching one number of it.
    vector = cuda.shared.array(THREADS, int32)
    if thread < columns:
        vector[thread] = x[thread]
    cuda.syncthreads()  # nobody reads the vector before all of it is there

    # A thread's rows: thread, thread + 64, ...  The best of them is remembered.
    best = int32(-32769)
    best_id = int32(0)
    for row in range(thread, weight.shape[0], THREADS):
        total = int32(bias[row])
        for column in range(columns):
            total = int32(total + int32(weight[row, column]) * int32(vector[column]))
        value = int32(min(max(total >> shift, -32768), 32767))
        logits[row] = value
        if value > best:
            best = value
            best_id = int32(row)

    # Half of the threads compare with the other half, then a quarter, then an eighth ...
    values = cuda.shared.array(THREADS, int32)
    ids = cuda.shared.array(THREADS, int32)
    values[thread] = best
    ids[thread] = best_id
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if thread < half:
            other = values[thread + half]
            other_id = ids[thread + half]
            better = other > values[thread]
            equal = other == values[thread] and other_id < ids[thread]
            if better or equal:
                values[thread] = other
                ids[thread] = other_id
        cuda.syncthreads()  # everybody is done with this round before the next
        half //= 2
    if thread == 0:
        chosen[0] = ids[0]

"""Numba CUDA, compiled to PTX; run on a GPU, or interpreted.

    kernel.py            FixedModel -> the text of one kernel: a stream, or by the general kernels
    stream_kernel.py     a stream's loop; stream_lowering.py, products.py, fused_heads.py its ops;
                         stream.py what has been written so far, hazards.py the next barrier,
                         residence.py what lies where
    lowering.py          ops by the general kernels; layout.py what lies where
    batch/               thousands of streams in one launch
    toolkit.py           text -> PTX; inspection.py PTX -> what NVIDIA's assembler made of it
    latency.py           how many clocks a token takes, from the assembler's own stall counts
    target.py            the image; conversation.py a prompt through it, launching.py its arguments
    device.py            a GPU by its driver; benchmark.py and peers.py what only a GPU can tell
"""

"""Training in log-table arithmetic, in MACRO-11.

A product is one ADD: numbers are held as codes, a code is half of an address, and the sum of two
codes is where the table of powers has their product.

    products    sums of products, one factor in a register, the other written into the code
    tables      linear number -> code, sum of codes -> linear number
    shape       sizes, and where everything lies
    forward     embeddings, queries, keys and values, attention, logits
    loss        softmax of the logits, loss, hits, gradients; which rows have none
    backward    gradients of attention, and of the embeddings
    update      weights, and their codes
    elements    of any graph: what is done element by element
    matrices    of any graph: sums of products, and updates
    softmaxes   of any graph: attention's weights and their gradients, the loss
    norms       of any graph: RMS norm and layer norm, and their gradients
    exact       of any graph in plain fixed point, by MUL
    tasks       random numbers, first weights, samples and their answers
    report      lines on the console

Meaning: kernels/reference/log_*.py; of exact.py, exact_training.py there.
"""

"""Training in log-table arithmetic on a 6502: the meaning is kernels/reference/log_*.py.

A product is a look into a table: a factor is an index register, the other one lies in the
instruction's address, and their sum is where the product stands.  Sums are kept in residues, one
chain of additions modulo 256 and one modulo 255, so that no carry is ever propagated.

    shape       sizes, and where everything lies
    codes       numbers as bytes; the tables of products, and the addresses into them
    products    sums of products, and how their factors come into the code
    softmax     a row of sums to codes of its softmax
    forward     embeddings, queries, keys and values, attention, logits
    loss        loss, hits, gradients of the logits; which positions have none
    backward    gradients of attention, and of the embeddings
    update      weights, and their codes
    tasks       random numbers, first weights, sequences and their answers
    report      lines on the screen
    program     the steps
"""

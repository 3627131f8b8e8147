"""Assembly text into bytes, symbols and lines: everything an assembler does that no CPU changes.

errors -> expressions -> grammar -> source -> passes -> program -> listing, in the order in which a
line of text meets them. A CPU adds a `Dialect` (passes.py), a lark grammar and an `encode`.
"""

"""The 6502: Commodore 64."""

"""The NMOS 6510 and the Commodore 64."""

"""The processors: what one has and another lacks, one row each.

To add a model: its instructions in isa.MODELS, a row here, a row of times in timing.py.
Sources: EK-KD11E-TM-001, table 2-8; PDP-11 Processor Handbook (1976), appendix; where these are
silent, the model tables of SIMH.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A processor. Each trait is a constant of its machine's text, in capitals."""

    name: str
    year: int
    psw_bits: int  # that exist
    managed: bool  # kernel and user mode, and the KT11's translation of addresses
    increment_after_read: bool  # (R)+ stays where nothing answers the read: ll-34, DEC's FKABD0
    destination_first: bool  # OPR R,(R)+ takes R as the destination has left it
    jump_after_increment: bool  # JMP (R)+ goes where R points after it
    swab_clears_v: bool
    t_writable: bool  # writing the PSW's address changes the T bit
    rti_traces: bool  # RTI that sets T traps at once, not after one instruction more
    register_jump_vector: int  # of JMP R. EK-KD11E-TM-001 says 10; SIMH and the handbook 4

    def traits(self) -> dict[str, int]:
        """The constants of the machine's text."""
        return {name.upper(): int(value) for name, value in vars(self).items()
                if not isinstance(value, str)}


MODELS = {
    "pdp11/20": Model("pdp11/20", 1970, psw_bits=0o377, managed=False,
                      increment_after_read=False, destination_first=True,
                      jump_after_increment=True, swab_clears_v=False, t_writable=True,
                      rti_traces=False, register_jump_vector=4),
    "pdp11/34a": Model("pdp11/34a", 1976, psw_bits=0o170377, managed=True,
                       increment_after_read=True, destination_first=False,
                       jump_after_increment=False, swab_clears_v=True, t_writable=False,
                       rti_traces=True, register_jump_vector=4),
}

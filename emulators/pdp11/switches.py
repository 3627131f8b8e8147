"""The programmer's console: what its switches say, and what a program shows in its lights.

    777570 switch register when read, display register when written

Source: PDP-11 Processor Handbook (1976), the console of each processor.
"""

from anachron.emulators.pdp11.unibus import Device, Register

SWITCHES = 0o777570


class Switches(Device):
    """Switch and display register."""

    name = "SWITCHES"
    registers = (Register(SWITCHES),)

    def __init__(self, switches: int) -> None:
        super().__init__()
        if not 0 <= switches <= 0o177777:
            raise ValueError(f"switch register {switches:o}: 0 to 177777 (octal) allowed")
        self.switches = switches
        self.display = 0

    def reset(self) -> None:
        self.bus.poke(SWITCHES, self.switches)

    def write(self, address: int, value: int) -> None:
        self.display = value

"""The KE11-A: multiplication, division and shifts for a processor without them, as a Unibus device.

    777300 DIV   divide AC,MQ by what is written     777310 SC   step counter; 777311 SR status
    777302 AC    accumulator                         777312 NOR  normalize
    777304 MQ    multiplier, quotient                777314 LSH  logical shift by what is written
    777306 MUL   multiply MQ by what is written      777316 ASH  arithmetic shift

A product lies in AC,MQ; a quotient in MQ, its remainder in AC. The times are unverified, and so is
that a program need not wait: the real one holds the bus until it is done.
Source: KE11-A Extended Arithmetic Element manual, DEC-11-HKEAA; PDP-11 Peripherals Handbook (1972).
"""

from anachron.emulators.pdp11.unibus import Device, Register

DIV, AC, MQ, MUL, SC, NOR, LSH, ASH = range(0o777300, 0o777320, 2)
# Bits of SR, the high byte at SC. The first three are left by an operation, the others always tell
# what AC and MQ are.
CARRY, NEGATIVE, N_XOR_V = 0o001, 0o100, 0o200
AC_IS_MQ_SIGN, BOTH_ZERO, MQ_ZERO, AC_ZERO, AC_ONES = 0o002, 0o004, 0o010, 0o020, 0o040
LEFT = CARRY | NEGATIVE | N_XOR_V


def signed(value: int, bits: int) -> int:
    return (value & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)


class Ke11(Device):
    """The arithmetic element."""

    name = "KE11"
    registers = tuple(Register(address) for address in (DIV, AC, MQ, MUL, SC, NOR, LSH, ASH))

    def reset(self) -> None:
        for address in (DIV, AC, MQ, MUL, SC, NOR, LSH, ASH):
            self.bus.poke(address, 0)
        self._conclude(0, 0)

    @property
    def _long(self) -> int:
        """AC,MQ as one signed number."""
        return signed(self.bus.peek(AC) << 16 | self.bus.peek(MQ), 32)

    def _put(self, value: int) -> None:
        self.bus.poke(AC, value >> 16)
        self.bus.poke(MQ, value)

    def write(self, address: int, value: int) -> None:
        number, status = signed(value, 16), self.bus.peek(SC)
        match address:
            case 0o777302:
                self.bus.poke(AC, value)
                self._conclude(status & 0o77, status >> 8 & LEFT)
            case 0o777304:  # its sign goes on into AC
                self._put(number)
                self._conclude(status & 0o77, status >> 8 & LEFT)
            case 0o777306:
                self._put(signed(self.bus.peek(MQ), 16) * number)
                self._conclude(0, self._sign(0))
            case 0o777300:
                self._divide(number)
            case 0o777310:
                self._conclude(value & 0o77, value >> 8 & LEFT)
            case 0o777312:
                self._normalize()
            case 0o777314 | 0o777316:
                self._shift(signed(value, 6), arithmetic=address == ASH)

    def _sign(self, overflow: int, word: int = AC) -> int:
        """N, and N exclusive-or V, of a result."""
        negative = self.bus.peek(word) >> 15
        return NEGATIVE * negative | N_XOR_V * (negative ^ overflow)

    def _divide(self, divisor: int) -> None:
        long = self._long
        if abs(long) >> 16 >= abs(divisor):  # one step of it is done before that is seen
            same = (long < 0) == (divisor < 0)
            ac = (long >> 15) - divisor if same else (long >> 15) + divisor
            self._put((ac & 0xFFFF) << 16 | (long << 1 | same) & 0xFFFF)
            carry = (self.bus.peek(AC) ^ divisor) >> 15 & 1 ^ 1
            self._conclude(15, CARRY * carry | self._sign(1, MQ))
            return
        quotient = abs(long) // abs(divisor) * (1 if (long < 0) == (divisor < 0) else -1)
        self._put((long - quotient * divisor & 0xFFFF) << 16 | quotient & 0xFFFF)
        self._conclude(0, self._sign(int(quotient != signed(quotient, 16)), MQ))

    def _normalize(self) -> None:
        """Shift left until the two highest bits differ, 31 times at most; count in SC."""
        long, steps = self._long, 0
        while steps < 31 and -(1 << 30) < long < 1 << 30:
            long, steps = long << 1, steps + 1
        self._put(long)
        self._conclude(steps, self._sign(0))

    def _shift(self, count: int, arithmetic: bool) -> None:
        long = self._long
        width = 31 if arithmetic else 32  # the sign stays where it is, or is shifted too
        status = 0
        if count < 0:
            value = long if arithmetic else long & 0xFFFFFFFF
            status = CARRY * (long >> -count - 1 & 1)
            self._put(value >> -count)
        elif count > 0:
            low = (1 << width) - 1
            shifted = signed(long << count & low | (long & ~low & 0xFFFFFFFF), 32)
            lost = long >> width - count
            status = CARRY * (lost & 1) | N_XOR_V * (lost != (-1 if shifted < 0 else 0))
            self._put(shifted)
        self._conclude(0, status ^ self._sign(0))

    def _conclude(self, steps: int, left: int) -> None:
        """SC, and what SR says of AC and MQ; NOR reads as SC."""
        ac, mq = self.bus.peek(AC), self.bus.peek(MQ)
        status = left | AC_IS_MQ_SIGN * (ac == (-(mq >> 15) & 0xFFFF))
        status |= MQ_ZERO * (mq == 0) | AC_ZERO * (ac == 0) | AC_ONES * (ac == 0xFFFF)
        status |= BOTH_ZERO * (ac == 0 and mq == 0)
        self.bus.poke(SC, status << 8 | steps)
        self.bus.poke(NOR, steps)

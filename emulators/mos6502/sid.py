"""What was written to the SID -> sound: three voices, their waveforms and envelopes, the volume.

Rendered: frequency, pulse width, triangle, sawtooth, pulse, noise and their combinations (as the
bits common to them, which is near the 6581), ring modulation, the test bit, ADSR by its counters,
volume. Not rendered: the filter, hard synchronisation, samples played through the volume.

Sources: Commodore 64 Programmer's Reference Guide (1982), app. O; the envelope's and the noise
register's counters as measured by D. Ellsworth and others for reSID (rates unverified here).
"""

import struct
from collections.abc import Sequence

import numpy as np

RATE = 44_100
LONGEST_SECONDS = 600
VOICE_REGISTERS, REGISTERS, VOLUME = 7, 25, 0x18
GATE, RING, TEST, TRIANGLE, SAWTOOTH, PULSE, NOISE = 1, 4, 8, 16, 32, 64, 128
STEP_CYCLES = np.array([9, 32, 63, 95, 149, 220, 267, 313, 392, 977, 1954, 3126, 3907, 11720,
                        19532, 31251])  # of the envelope, by the nibble of attack or decay
SLOWER = ((93, 1), (54, 2), (26, 4), (14, 8), (6, 16), (0, 30))  # above a level: steps a count
NOISE_TAPS = (20, 18, 14, 11, 9, 5, 2, 0)


def _fall_times() -> np.ndarray:
    """Steps of a decay from 255 until each lower level is reached: entry k is for 255 - k."""
    steps = [next(slow for above, slow in SLOWER if level > above) for level in range(255, 0, -1)]
    return np.concatenate([[0], np.cumsum(steps)])


FALL_TIMES = _fall_times()


def render(writes: Sequence[tuple[int, int, int]], clock_hz: int, n_cycles: int,
           rate: int = RATE) -> np.ndarray:
    """The sound of a log of writes.

    writes    (cycle, register, value), in order
    n_cycles  how long it lasts; ten minutes of it at most
    return    (samples,) int16
    """
    n_samples = min(n_cycles * rate // clock_hz, LONGEST_SECONDS * rate)
    times = np.arange(n_samples) * (clock_hz / rate)
    log = [(cycle, register, value) for cycle, register, value in writes if register < REGISTERS]
    values = [_timeline(log, register, times) for register in range(REGISTERS)]
    waves, phases = [], []
    for voice in range(3):
        low, high, width_low, width_high, control = (
            values[VOICE_REGISTERS * voice + n] for n in range(5))
        speed = np.where(control & TEST, 0, low | high << 8) * (clock_hz / rate)
        phase = np.cumsum(speed)
        phases.append(phase)
        waves.append((phase, control, width_low | (width_high & 15) << 8))
    total = np.zeros(n_samples)
    for voice, (phase, control, width) in enumerate(waves):
        wave = waveform(phase, phases[voice - 1], control, width)
        total += (wave / 2047.5 - 1) * envelope(log, voice, times)
    loudness = (values[VOLUME] & 15) / 15
    return np.clip(total / 255 / 3 * loudness * 32767, -32768, 32767).astype(np.int16)


def _timeline(log: Sequence[tuple[int, int, int]], register: int,
              times: np.ndarray) -> np.ndarray:
    """A register's value at each time."""
    cycles = [cycle for cycle, at, _ in log if at == register]
    values = np.array([0, *(value for _, at, value in log if at == register)])
    return values[np.searchsorted(cycles, times, side="right")]


def waveform(phase: np.ndarray, other: np.ndarray, control: np.ndarray,
             width: np.ndarray) -> np.ndarray:
    """The 12 bits of a voice's oscillator, unwrapped phases given; 2048 where it is silent."""
    counter = phase.astype(np.int64)
    turn = counter >> 12 & 0xFFF
    fold = np.where(control & RING, (counter ^ other.astype(np.int64)) >> 23 & 1, turn >> 11)
    shapes = {
        TRIANGLE: (turn << 1 ^ -fold) & 0xFFF,
        SAWTOOTH: turn,
        PULSE: np.where((turn >= width) | (control & TEST != 0), 0xFFF, 0),
    }
    if np.any(control & NOISE):
        shapes[NOISE] = noise(counter >> 20)
    wave = np.full(len(phase), 0xFFF)
    for bit, shape in shapes.items():
        wave = np.where(control & bit, wave & shape, wave)
    return np.where(control & 0xF0, wave, 0x800)


def noise(shifts: np.ndarray) -> np.ndarray:
    """The noise register's 12 bits after a number of shifts each: bits 22 and 17 are fed back."""
    n_bits = int(shifts.max(initial=0)) + 1
    bits = np.ones(23 + n_bits + 18, np.int64)
    for at in range(23, 23 + n_bits, 18):
        bits[at:at + 18] = bits[at - 23:at - 5] ^ bits[at - 18:at]
    index = shifts + 22
    return sum(bits[index - tap] << 11 - place for place, tap in enumerate(NOISE_TAPS))


def envelope(log: Sequence[tuple[int, int, int]], voice: int, times: np.ndarray) -> np.ndarray:
    """A voice's level, 0 to 255, at each time."""
    base = VOICE_REGISTERS * voice
    control = attack_decay = sustain_release = 0
    level, since, state = 0, 0.0, "release"
    levels = np.zeros(len(times))
    events = [(cycle, at - base, value) for cycle, at, value in log if base + 4 <= at <= base + 6]
    end = times[-1] + 1 if len(times) else 0
    for cycle, register, value in [*events, (end, -1, 0)]:
        span = slice(*np.searchsorted(times, [since, max(cycle, since)]))
        elapsed = np.append(times[span], max(cycle, since)) - since
        if state == "attack":
            path = _attack(level, elapsed, attack_decay, sustain_release)
            state = "decay" if path[-1] < 255 and _risen(level, elapsed[-1], attack_decay) \
                else state
        elif state == "decay":
            path = _fall(level, elapsed, attack_decay & 15, (sustain_release >> 4) * 17)
        else:
            path = _fall(level, elapsed, sustain_release & 15, 0)
        levels[span] = path[:-1]
        level, since = int(path[-1]), max(cycle, since)
        match register:
            case 4:
                if (value ^ control) & GATE:
                    state = "attack" if value & GATE else "release"
                control = value
            case 5:
                attack_decay = value
            case 6:
                sustain_release = value
    return levels


def _risen(level: int, elapsed: float, attack_decay: int) -> bool:
    return elapsed >= (255 - level) * STEP_CYCLES[attack_decay >> 4]


def _attack(level: int, elapsed: np.ndarray, attack_decay: int,
            sustain_release: int) -> np.ndarray:
    """Rise to 255, then decay to the sustain level."""
    step = STEP_CYCLES[attack_decay >> 4]
    top = (255 - level) * step
    rising = np.minimum(level + elapsed // step, 255)
    falling = _fall(255, np.maximum(elapsed - top, 0), attack_decay & 15,
                    (sustain_release >> 4) * 17)
    return np.where(elapsed < top, rising, falling)


def _fall(level: int, elapsed: np.ndarray, rate: int, floor: int) -> np.ndarray:
    """Decay from a level towards a floor, slower the lower it is."""
    if level <= floor:
        return np.full(len(elapsed), level)
    steps = FALL_TIMES[255 - level] + elapsed // STEP_CYCLES[rate]
    return np.maximum(255 - (np.searchsorted(FALL_TIMES, steps, side="right") - 1), floor)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """A WAV file's bytes: one channel of 16 bits."""
    data = samples.astype("<i2").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1,
                         rate, 2 * rate, 2, 16, b"data", len(data))
    return header + data

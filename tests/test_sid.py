"""The SID's sound: pitch, level and shape are those of the registers."""
import numpy as np
import pytest

from anachron.emulators.mos6502 import sid

CLOCK = 985_248
SECOND = CLOCK


def tone(control: int, frequency: int = 0x1000, width: int = 0x800, envelope: tuple[int, int] =
         (0x00, 0xF0), volume: int = 15) -> list[tuple[int, int, int]]:
    low, high = frequency & 0xFF, frequency >> 8
    registers = [low, high, width & 0xFF, width >> 8, control, *envelope]
    order = (0, 1, 2, 3, 5, 6, 4)
    return [(0, 0x18, volume)] + [(1, n, registers[n]) for n in order]


@pytest.mark.parametrize("control", [0x11, 0x21, 0x41])
def test_tone_has_the_frequency_of_its_register(control: int) -> None:
    sound = sid.render(tone(control), CLOCK, SECOND).astype(float)
    loudest = np.abs(np.fft.rfft(sound - sound.mean())).argmax()
    assert loudest == round(0x1000 * CLOCK / 2**24)


def test_triangle_rises_and_falls_through_all_its_values() -> None:
    phase = np.arange(0, 1 << 24, 1 << 12).astype(float)
    wave = sid.waveform(phase, phase, np.full(4096, 0x10), np.zeros(4096, int))
    assert wave[:4].tolist() == [0, 2, 4, 6] and wave[2047:2050].tolist() == [4094, 4095, 4093]
    assert wave[-1] == 1


def test_pulse_is_high_from_its_width_on() -> None:
    phase = np.arange(0, 1 << 24, 1 << 12).astype(float)
    wave = sid.waveform(phase, phase, np.full(4096, 0x40), np.full(4096, 0x300))
    assert np.flatnonzero(np.diff(wave)).tolist() == [0x2FF]


def test_noise_register_follows_its_feedback() -> None:
    state, expected = 0x7FFFFF, []
    for _ in range(500):
        expected.append(sum((state >> tap & 1) << 11 - n for n, tap in enumerate(sid.NOISE_TAPS)))
        state = (state << 1 & 0x7FFFFF) | (state >> 22 ^ state >> 17) & 1
    assert sid.noise(np.arange(500)).tolist() == expected


def test_envelope_takes_the_time_of_its_nibbles() -> None:
    times = np.arange(0.0, 3 * SECOND, 100)
    log = [(0, 5, 0x88), (0, 6, 0xA9), (0, 4, 0x11), (2 * SECOND, 4, 0x10)]
    level = sid.envelope(log, 0, times)
    top = times[level.argmax()]
    assert level.max() == 255 and 255 * 392 - 100 <= top <= 255 * 392 + 100
    assert level[np.searchsorted(times, SECOND)] == 0xAA
    assert level[-1] == 0 and level[np.searchsorted(times, 2.05 * SECOND)] > 0


def test_volume_and_gate_silence_the_voice() -> None:
    assert not sid.render(tone(0x21, volume=0), CLOCK, SECOND // 10).any()
    assert not sid.render(tone(0x20), CLOCK, SECOND // 10).any()
    assert sid.render(tone(0x21), CLOCK, SECOND // 10).any()
    assert not sid.render([], CLOCK, SECOND // 10).any()


def test_wav_is_a_header_and_its_samples() -> None:
    data = sid.wav(np.array([1, -2], np.int16))
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE" and len(data) == 48
    assert data[44:] == b"\x01\x00\xfe\xff"

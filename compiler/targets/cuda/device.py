"""A GPU, through NVIDIA's driver library: load PTX, launch once, time it by events.

Only the driver is needed, which compiles PTX for the GPU that is there.  None of this has run on
one yet: unverified.
Source: NVIDIA, "CUDA Driver API", version 13.0: cuInit, cuModuleLoadData, cuLaunchKernel, cuEvent*;
the names ending in _v2 are those of the current ABI (cuda.h).
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from anachron.compiler.targets import Absent
from anachron.emulators.ptx.syntax import parse

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: cuda.h
MOST_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: cuda.h
NAME_LENGTH = 100
REPEATS = 20  # timed launches, of which the fastest counts; the first ones warm the clocks


@dataclass(frozen=True)
class Device:
    """The first GPU, with its context current in this thread."""

    driver: Any
    name: str

    @classmethod
    def open(cls, wanted: str = "") -> Device:
        """The GPU, if there is one and `wanted` is in its name; otherwise Absent says what is."""
        driver = _find_driver()
        count, number, context = c_int(), c_int(), c_void_p()
        if driver.cuInit(0) or driver.cuDeviceGetCount(byref(count)) or not count.value:
            raise Absent("there is no NVIDIA GPU here, only its driver")
        _check(driver, driver.cuDeviceGet(byref(number), 0))
        name = ctypes.create_string_buffer(NAME_LENGTH)
        _check(driver, driver.cuDeviceGetName(name, NAME_LENGTH, number))
        found = name.value.decode()
        if wanted not in found:
            raise Absent(f"the GPU here is a {found}: use --on cuda")
        _check(driver, driver.cuDevicePrimaryCtxRetain(byref(context), number))
        _check(driver, driver.cuCtxSetCurrent(context))
        return cls(driver, found)

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at once, where one fills a multiprocessor."""
        count = c_int()
        status = self.driver.cuDeviceGetAttribute(byref(count), c_int(MULTIPROCESSORS), c_int(0))
        _check(self.driver, status)
        return count.value

    def launch(
        self, ptx: str, arguments: tuple, threads: int, shared: int, blocks: int = 1
    ) -> int:
        """Run a kernel REPEATS times; nanoseconds of the fastest.

        arguments  arrays, which get back what the last launch left in them, and 32-bit integers
        """
        driver = self.driver
        module, function = c_void_p(), c_void_p()
        _check(driver, driver.cuModuleLoadData(byref(module), c_char_p(ptx.encode() + b"\0")))
        name = parse(ptx).name.encode()
        _check(driver, driver.cuModuleGetFunction(byref(function), module, name))
        _check(driver, driver.cuFuncSetAttribute(function, MOST_DYNAMIC_SHARED, c_int(shared)))
        held = [self._upload(a) if isinstance(a, np.ndarray) else c_int(a) for a in arguments]
        pointers = (c_void_p * len(held))(*(ctypes.addressof(a) for a in held))
        start, end = c_void_p(), c_void_p()
        for event in (start, end):
            _check(driver, driver.cuEventCreate(byref(event), c_uint(0)))
        best = float("inf")
        one = c_uint(1)
        for _ in range(REPEATS):
            elapsed = c_float()
            _check(driver, driver.cuEventRecord(start, None))
            status = driver.cuLaunchKernel(
                function, c_uint(blocks), one, one, c_uint(threads), one, one, c_uint(shared), None,
                pointers, None,
            )  # fmt: skip
            _check(driver, status)
            _check(driver, driver.cuEventRecord(end, None))
            _check(driver, driver.cuEventSynchronize(end))
            _check(driver, driver.cuEventElapsedTime(byref(elapsed), start, end))
            best = min(best, elapsed.value)
        for array, address in zip(arguments, held, strict=True):
            if isinstance(array, np.ndarray):
                _check(driver, driver.cuMemcpyDtoH_v2(c_void_p(array.ctypes.data), address,
                                                      ctypes.c_size_t(array.nbytes)))
                _check(driver, driver.cuMemFree_v2(address))
        for event in (start, end):
            _check(driver, driver.cuEventDestroy_v2(event))
        _check(driver, driver.cuModuleUnload(module))
        return round(best * 1e6)

    def _upload(self, array: np.ndarray) -> c_uint64:
        address, size = c_uint64(), ctypes.c_size_t(array.nbytes)
        _check(self.driver, self.driver.cuMemAlloc_v2(byref(address), size))
        source = c_void_p(array.ctypes.data)
        _check(self.driver, self.driver.cuMemcpyHtoD_v2(address, source, size))
        return address


def _find_driver() -> Any:
    for library in LIBRARIES:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    raise Absent(f"there is no NVIDIA GPU here: no driver ({LIBRARIES[0]})")


def _check(driver: Any, status: int) -> None:
    if status:
        text = c_char_p()
        driver.cuGetErrorString(c_int(status), byref(text))
        raise Absent(f"the GPU refuses: {(text.value or b'?').decode()} (CUDA error {status})")

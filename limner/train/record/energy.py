"""Energy that the machine says it used: processors by RAPL, GPUs by NVML, or nothing.

It counts whole processors and GPUs, with whatever else runs on them, and nothing besides: no
memory, disk, fan or power supply.
"""

from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_KWH = 3.6e6


class EnergyMeter:
    """Energy in kWh since it was made; `device` is where the run computes."""

    def __init__(self, device: torch.device, powercap: Path = POWERCAP) -> None:
        self._packages = [Package(path) for path in _readable(powercap)]
        self._gpu = Gpu.of(device)

    def kwh(self) -> float | None:
        """Return the energy so far, or None where the machine does not tell."""
        parts = [package.joules() for package in self._packages]
        if self._gpu is not None:
            parts.append(self._gpu.joules())
        return sum(parts) / JOULES_PER_KWH if parts else None


class Package:
    """One processor's counter in microjoules, which starts again from zero at its range."""

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last, self._total = int(self._counter.read_text()), 0

    def joules(self) -> float:
        """Return the energy since the counter was first read; read it at least once a range."""
        now = int(self._counter.read_text())
        self._total += (now - self._last) % (self._range + 1)  # it wrapped round at most once
        self._last = now
        return self._total / 1e6


class Gpu:
    """One GPU's counter of energy."""

    def __init__(self, device: torch.device) -> None:
        import pynvml

        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        self._read = pynvml.nvmlDeviceGetTotalEnergyConsumption
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self._first = self._read(self._handle)

    def joules(self) -> float:
        """Return the energy since this was made."""
        return (self._read(self._handle) - self._first) / 1e3

    @classmethod
    def of(cls, device: torch.device) -> "Gpu | None":
        """Return the counter of a CUDA device; None for another, or where NVML does not tell."""
        if device.type != "cuda":
            return None
        try:
            return cls(device)
        except ImportError:
            return None
        except Exception as error:
            # NVML's errors are of a module that may be absent, so they have no name here.
            if type(error).__module__.partition(".")[0] == "pynvml":
                return None
            raise


def _readable(powercap: Path) -> list[Path]:
    """Return the folders of whole processors, intel-rapl:0 and so on, that may be read."""
    found = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") != 1:  # intel-rapl:0:0 is a part of intel-rapl:0
            continue
        try:
            Package(folder)  # root alone may read it, on many machines
        except (OSError, ValueError):
            continue
        found.append(folder)
    return found

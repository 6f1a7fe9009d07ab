"""Peers from PyPI, each in an environment of its own under .cache/peers.

Such an environment sees the running interpreter's packages (torch, numpy), so that both sides of a
comparison use the same torch, and nothing is installed beside limner. torchvision is never
installed (it would replace a CPU torch by gigabytes of CUDA): a peer that imports it, or a package
that no longer builds, gets a stand-in whose every name can be imported and none used. What is timed
is the peer's own code.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DALLE_PYTORCH = ("dalle-pytorch==1.6.6", "taming-transformers-rom1504==0.0.6")
DALLE_PYTORCH_DEPS = (
    "axial-positional-embedding==0.3.12",
    "einops==0.8.2",
    "ftfy==6.3.1",
    "omegaconf==2.3.1",
    "pytorch-lightning==1.9.5",
    "requests",
    "rotary-embedding-torch==0.8.9",
    "setuptools<81",  # it imports pkg_resources
    "transformers>=5.17",
)
MIN_DALLE = ("min-dalle==0.4.11",)
MIN_DALLE_DEPS = ("emoji==2.16.0", "requests")
OPEN_CLIP = ("open-clip-torch==3.3.0",)
OPEN_CLIP_DEPS = ("ftfy==6.3.1", "regex", "tqdm", "transformers>=5.17")
RUDALLE = ("rudalle==1.1.3", "taming-transformers-rom1504==0.0.6")
RUDALLE_DEPS = ("einops==0.8.2", "omegaconf==2.3.1", "pywavelets==1.9.0")
VECTOR_QUANTIZE = ("vector-quantize-pytorch==1.32.0",)
VECTOR_QUANTIZE_DEPS = ("einops>=0.8.0", "einx>=0.3.0", "loguru", "torch-einops-utils>=0.1.42")

# Import names of what peers ask for at import and never use on a timed path.
STAND_INS = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.models",
    "torchvision.utils",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "youtokentome",
)

_STAND_IN = '''"""A stand-in: what it names can be imported, not used."""


class _Names(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Absent(metaclass=_Names):
    def __init__(self, *arguments, **options):
        raise RuntimeError("this is a stand-in: the package is not installed for benchmarks")


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Absent
'''


def peer_python(name: str, packages: Sequence[str], deps: Sequence[str] = ()) -> Path:
    """Return the Python of the environment `name`, made on the first call.

    `packages` are installed without what they require, `deps` with it; torch and numpy stay those
    of the running interpreter.
    """
    folder = ROOT / ".cache" / "peers" / name
    python = folder / "bin" / "python"
    if _is_running(python):
        return python
    wanted = "\n".join([sys.executable, version("torch"), *packages, *deps, *STAND_INS])
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"making {folder.relative_to(ROOT)} with {', '.join(packages)}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    site = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        raise SystemExit("benchmarks need torch; run them with the Python of .venv (make test)")
    (site / "running_interpreter.pth").write_text(f"{Path(torch.origin).parent.parent}\n")
    kept = folder / "kept.txt"
    kept.write_text("".join(f"{each}=={version(each)}\n" for each in ("torch", "numpy", "pillow")))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-warn-script-location",
    ]
    if deps:
        _run([*install, "--constraint", str(kept), *deps])
    _run([*install, "--no-deps", *packages])
    for module in STAND_INS:
        package = site.joinpath(*module.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(_STAND_IN)
    stamp.write_text(wanted)
    return python


def rerun_in(python: Path) -> None:
    """Go on as the same script with the same arguments under `python`, limner importable.

    Returns at once when that interpreter is already the running one.
    """
    if not _is_running(python):
        os.execve(python, [str(python), *sys.argv], peer_environment())


def peer_environment() -> dict[str, str]:
    """Return the variables under which a peer's Python finds this checkout's limner."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        "OMP_WAIT_POLICY": "passive",  # a spinning barrier of two threads slows a shared machine
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _is_running(python: Path) -> bool:
    return Path(sys.prefix).resolve() == python.parent.parent.resolve()


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

"""What a measurement depends on: the processor, and the versions of packages."""

import importlib.metadata
import os
import platform
from pathlib import Path


def machine_description() -> str:
    """The processor and the number of its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    processor = next(names, "") or platform.processor() or "unknown processor"
    return f"{processor}, {os.cpu_count()} cores"


def package_versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of installed packages, by name."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}

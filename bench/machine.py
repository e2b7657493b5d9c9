"""Where a report was made: a figure means nothing without its machine and its Python."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def build() -> str:
    """How this Python was compiled: the bars are for plain builds, and lru_cache gains from profile guidance."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    if "--enable-optimizations" in arguments:
        return "profile-guided"
    if os.name == "nt" or sys.base_prefix in ("/usr", "/usr/local"):
        return "as distributed"
    return "plain"


def described() -> dict[str, str]:
    flags = str(sysconfig.get_config_var("PY_CFLAGS") or "").split()
    level = next((flag for flag in reversed(flags) if flag.startswith("-O")), "")
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": ", ".join(filter(None, [f"{platform.system()} {platform.machine()}", " ".join(platform.libc_ver())])),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": f"{build()} build {level}".strip(),
        "compiler": platform.python_compiler(),
    }

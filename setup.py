"""How the native core is compiled; everything else about the package is in pyproject.toml.

One extension, `samovar._core`: the Cython module plus every C file of the two lower floors. `SAMOVAR_BUILD` chooses:

    release   what a wheel holds (default)
    debug     -O0 -g, SV_ASSERT on
    sanitize  debug under the address and undefined-behaviour sanitizers (run with libasan preloaded: `make sanitize`)
    strict    release, with our own C files held to -Wall -Wextra -Wconversion -Wshadow -Werror

The C that Cython writes goes to the build directory and is never held to our warnings: it is not ours to correct.
"""

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("SAMOVAR_BUILD") or "release"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "embedsignature": False,
    "freethreading_compatible": True,  # stands while tests/storm are green on a free-threaded build
    "autotestdict": False,
}
UNIX = ["-std=c11", "-fvisibility=hidden", "-fno-strict-aliasing"]
MODES = {
    "release": ["-O3", "-g0", "-fno-semantic-interposition"],
    "debug": ["-O0", "-g", "-UNDEBUG", "-DSV_DEBUG"],
    "sanitize": ["-O1", "-g", "-UNDEBUG", "-DSV_DEBUG", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
                 "-fno-sanitize-recover=undefined"],
    "strict": ["-O3", "-fno-semantic-interposition"],
}
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
MSVC = ["/std:c11", "/experimental:c11atomics", *(["/Od", "/Zi", "/FS", "/DSV_DEBUG"] if MODE == "debug" else ["/O2", "/GL"])]

if MODE not in MODES:
    sys.exit(f"SAMOVAR_BUILD is {MODE!r}; it must be one of {', '.join(MODES)}")


def is_gcc(command: str) -> bool:
    """Whether a C compiler is GCC, whose link-time optimisation needs no other linker."""
    try:
        about = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return "Free Software Foundation" in about and "clang" not in about


class Build(build_ext):
    """Cython when a build is really asked for, switches by compiler and mode, C files compiled side by side."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if MODE != "release":
            self.build_temp += f"-{MODE}"

    def build_extension(self, ext: Extension) -> None:
        from Cython.Build import cythonize

        if self.compiler.compiler_type == "msvc":
            switches, own, link = MSVC, [], [] if MODE == "debug" else ["/LTCG"]
            if FREE_THREADED:  # on Windows no header says so
                ext.define_macros.append(("Py_GIL_DISABLED", "1"))
        else:
            switches, own, link = [*UNIX, *MODES[MODE]], [], []
            if MODE == "release" and is_gcc(self.compiler.compiler_so[0]):
                switches.append("-flto=auto")
            if MODE == "strict":  # Python's headers become system headers: their warnings are not ours either
                own = [*STRICT, "-isystem", sysconfig.get_path("include")]
            if MODE == "sanitize":
                link = ["-fsanitize=address,undefined"]
            if MODE == "release":
                link = [*switches]
        ext.extra_compile_args, ext.extra_link_args = switches, link
        written, *rest = ext.sources
        [thin] = cythonize(Extension(ext.name, [written]), build_dir=self.build_temp, compiler_directives=DIRECTIVES,
                           quiet=True)
        ext.sources = [*thin.sources, *rest]
        self.compile_side_by_side(own)
        super().build_extension(ext)

    def compile_side_by_side(self, own: list[str]) -> None:
        """Make this compiler's `compile` take its sources from a pool, with `own` switches for our own C files."""
        one_by_one, workers = type(self.compiler).compile, self.parallel or os.cpu_count() or 1

        def compile(sources, *args, extra_postargs=None, **kwargs):
            def compile_one(source):
                more = own if Path(source).parts[0] == "csrc" else []
                switches = [*(extra_postargs or []), *more]
                return one_by_one(self.compiler, [source], *args, extra_postargs=switches, **kwargs)

            if self.compiler.compiler_type == "msvc":
                self.compiler.initialize()
            with ThreadPoolExecutor(max(1, int(workers))) as pool:
                return [name for names in pool.map(compile_one, sources) for name in names]

        self.compiler.compile = compile


def ours(*patterns: str) -> list[str]:
    here = Path(__file__).parent
    return sorted(path.relative_to(here).as_posix() for pattern in patterns for path in here.glob(pattern))


setup(
    ext_modules=[
        Extension(
            "samovar._core",
            sources=["src/samovar/_core.pyx", *ours("csrc/pure/*.c", "csrc/object/*.c")],
            depends=["setup.py", *ours("csrc/*/*.h", "src/samovar/*.px[di]")],
            include_dirs=["csrc"],
        )
    ],
    cmdclass={"build_ext": Build},
)

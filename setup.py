"""Builds the CPU engine's kernels: from one source a shared library per instruction set, to choose from at run time.

They are plain C libraries, no Python modules. Where the compiler fails, the installation goes on without them:
`zoo.engines.lanes.available()` is then false and training runs on PyTorch. Where there is none, build_backend asks pip
for one. The configs lie beside the package here, and in it when it is installed. Everything else is in pyproject.toml.
"""

import os
import platform
import runpy
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

PACKAGE = Path("zoo/engines/lanes")
VERSION = runpy.run_path(str(PACKAGE / "sources.py"))  # importing it as zoo.engines.lanes.sources would import PyTorch
COMPILER = runpy.run_path("build_backend/compiler.py")
SOURCES = PACKAGE / VERSION["SOURCES"]
FLAGS = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
]
CONFIGS = ["zoo.conf", *(f"zoo.conf.{folder}" for folder in find_namespace_packages("conf"))]
MORE_FLAGS = os.environ.get("KERNEL_FLAGS", "").split()  # have the last word, in compiling and linking (make sanitize)
VARIANTS = {"portable": ["-DLANES=4"]}
if platform.machine().lower() in ("x86_64", "amd64"):
    VARIANTS["avx2"] = ["-DLANES=8", "-mavx2", "-mfma"]
    VARIANTS["avx512"] = ["-DLANES=16", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"]
    VARIANTS["avx512"] += ["-mprefer-vector-width=512"]


class BuildKernels(build_ext):
    build_temp: str

    def get_ext_filename(self, fullname: str) -> str:
        """`_lanes_avx512.so`, without the interpreter's tag: no Python header is used, ctypes loads them."""
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []  # there is no PyInit function to export

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = None  # the variants share their source, and so the directory of the moment below

    def build_extensions(self) -> None:
        """By the compiler that was found to work, and without the flags that Python was compiled with."""
        command = COMPILER["command"]()
        self.compiler.set_executables(
            compiler_cxx=command,
            compiler_so_cxx=[*command, "-fPIC"],
            linker_so_cxx=[*command, "-shared"],
            linker_exe_cxx=command,
        )
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        shared = self.build_temp
        self.build_temp = str(Path(shared, ext.name))  # or one variant's object file would replace another's
        try:
            super().build_extension(ext)
        finally:
            self.build_temp = shared

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # whatever is wrong with the tool chain, the package works without the kernels
            self.warn(f"the CPU engine was not built ({error}); models will be trained by PyTorch")
        else:
            package = Path(self.build_lib, PACKAGE)
            package.mkdir(parents=True, exist_ok=True)  # of an editable installation it has kernels only, if any
            (package / VERSION["RECORD"]).write_text(VERSION["digest"](SOURCES) + "\n")


class AnyPython(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        """For this system, and every Python: the kernels don't know its interface."""
        return "py3", "none", super().get_tag()[2]


setup(
    packages=[*find_namespace_packages(include=["zoo*", "hydra_plugins*"], exclude=["*.src", "*.src.*"]), *CONFIGS],
    package_dir={"zoo.conf": "conf"},
    package_data={name: ["*.yaml"] for name in CONFIGS},
    include_package_data=False,  # else the kernels' sources come along
    ext_modules=[
        Extension(
            f"{'.'.join(PACKAGE.parts)}._lanes_{name}",
            sources=[str(SOURCES / "api.cpp")],
            depends=["setup.py", *sorted(str(header) for header in SOURCES.rglob("*.h"))],
            define_macros=[("LANES_SOURCES", f'"{VERSION["digest"](SOURCES)}"')],
            extra_compile_args=[*FLAGS, *flags, *MORE_FLAGS],
            extra_link_args=MORE_FLAGS,
            language="c++",
            optional=True,
        )
        for name, flags in VARIANTS.items()
    ],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)

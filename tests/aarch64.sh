#!/usr/bin/env bash
# The engine's tests on AArch64, under emulation: NEON's arithmetic is run, not only compiled. See `make test-aarch64`.
#
# On Debian or Ubuntu, after: apt-get install g++-aarch64-linux-gnu qemu-user
# Everything comes to build/aarch64: that system's Python from the distribution's packages, PyTorch from PyPI (the first
# time only, 250 MB), and the kernels. Nothing on this machine is changed.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
TO=$PWD/build/aarch64
CODENAME=$(. /etc/os-release && echo "$VERSION_CODENAME")
MIRROR=${MIRROR:-http://deb.debian.org/debian}
TORCH=2.7.1 # later ones for this processor bring CUDA, 450 MB

# apt-get for the other architecture, with lists and a cache of its own
foreign() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)" \
    -o Debug::NoLocking=1 -o Dir::State::Lists="$TO/apt/lists" -o Dir::State::status="$TO/apt/status" \
    -o Dir::Cache="$TO/apt/cache" -o Dir::Etc::sourcelist="$TO/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null/ "$@"
}

python_of_debian() {
  mkdir -p "$TO/apt/lists/partial" "$TO/apt/cache/archives/partial" "$TO/root"
  touch "$TO/apt/status"
  echo "deb [arch=arm64] $MIRROR $CODENAME main" > "$TO/apt/sources.list"
  foreign update
  foreign --yes --no-install-recommends --download-only install python3 libstdc++6
  for package in "$TO"/apt/cache/archives/*.deb; do dpkg-deb --extract "$package" "$TO/root"; done
}

packages_of_pypi() { # by name, since pip would choose the dependencies for this machine
  version=$(basename "$TO"/root/usr/bin/python3.*[0-9])
  "$PYTHON" -m pip install --quiet --no-deps --only-binary :all: --python-version "${version#python}" \
    --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --target "$TO/site" \
    "torch==$TORCH" numpy pytest iniconfig pluggy packaging pygments setuptools \
    filelock typing-extensions sympy mpmath networkx jinja2 markupsafe fsspec
}

emulated() {
  OMP_NUM_THREADS=1 PYTHONPATH="$TO/lib:$TO/site" qemu-aarch64 -L "$TO/root" "$TO"/root/usr/bin/python3 "$@"
}

[ -e "$TO/root/usr/bin/python3" ] || python_of_debian
[ -e "$TO/site/fsspec" ] || packages_of_pypi
rm -rf "$TO/lib"
CXX=aarch64-linux-gnu-g++ KERNEL_FLAGS=-Werror emulated setup.py --quiet build --build-base "$TO" --build-lib "$TO/lib"
cd "$TO/lib"
ls zoo/engines/lanes/_lanes_portable.so
emulated -m pytest --import-mode=importlib --noconftest -p no:cacheprovider -c /dev/null \
  "$OLDPWD"/tests/engines/test_{lanes,processor}.py "$@"

# On a bare machine (Python 3.11+, git, make): make the environment, then do the thing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all lint sanitize test-clang test-aarch64 clean

demo: .venv/installed
	$(BIN)/python train.py -m optim.lr=1e-3,1e-4 'seed=range(0,50)'
	$(BIN)/python analyze.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --durations 10

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov zoo --cov-report term:skip-covered

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The engine's tests, on kernels that stop at any access out of bounds and any undefined behaviour. Needs GCC; takes three
# to four minutes, most of them to compile.
ENGINE_TESTS = $(CURDIR)/$(BIN)/python -m pytest --import-mode=importlib --noconftest -p no:cacheprovider \
	-c $(CURDIR)/pyproject.toml $(addprefix $(CURDIR)/tests/engines/,test_lanes.py test_processor.py)
SANITIZERS := -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
sanitize: .venv/installed
	rm -rf build/sanitized
	KERNEL_FLAGS="$(SANITIZERS)" $(BIN)/python setup.py --quiet build --build-base build/sanitized --build-lib build/sanitized/lib
	cd build/sanitized/lib && ls zoo/engines/lanes/_lanes_portable.so && ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" $(ENGINE_TESTS)

# The engine's tests on kernels that Clang compiled, as it does where the machine has no compiler (build_backend).
test-clang: .venv/installed
	$(PYTHON) -m venv build/clang/venv && build/clang/venv/bin/python -m pip install --quiet ziglang
	rm -rf build/clang/lib
	CXX="build/clang/venv/bin/python -m ziglang c++ -mcpu=baseline" KERNEL_FLAGS=-Werror \
		$(BIN)/python setup.py --quiet build --build-base build/clang --build-lib build/clang/lib
	cd build/clang/lib && ls zoo/engines/lanes/_lanes_portable.so && $(ENGINE_TESTS)

# The engine's tests on an emulated AArch64. Needs Debian or Ubuntu, and g++-aarch64-linux-gnu and qemu-user of it.
test-aarch64: .venv/installed
	PYTHON=$(BIN)/python tests/aarch64.sh

.venv/installed: pyproject.toml setup.py $(wildcard build_backend/*.py zoo/engines/lanes/src/* zoo/engines/lanes/src/*/*)
	@echo "Installing into .venv: PyTorch and what else is needed, about 5 GB, takes some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info

# The two commands: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# One BLAS thread a process: the work is spread over processes.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# The golden numbers come of OpenBLAS's AVX2 kernels; those for AVX-512 round otherwise, and the EM of a
# 3PL model makes another path of that (777 cycles in place of 665).
ifneq ($(shell grep -m1 -o avx512f /proc/cpuinfo 2>/dev/null | head -1),)
export OPENBLAS_CORETYPE ?= Haswell
endif
# Hundreds of processes start; without bytecode each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo figures test test-system parity bench bench-accuracy lint setup clean

help:
	@echo "make demo    set up and reconstruct the shipped example with the embedded bundle"
	@echo "make figures  all figures of the paper whose data are in ../shared/data, into build/figures"
	@echo "make test    set up and run the tests (unit, property, bridge, fast parity)"
	@echo "make test-system  image, Slurm, and real models by lm-eval (root, Debian)"
	@echo "make parity  all parity tests, heavy refits included; prints the table of differences"
	@echo "make bench   the benchmarks behind the README's table"
	@echo "make bench-accuracy  errors of the second stages on the reference data"
	@echo "make lint    ruff and mypy"

setup: $(STAMP)

$(STAMP): pyproject.toml docker/constraints.txt docker/debian-packages.txt
	@sh docker/install-system-packages.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c docker/constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/metabench-py reconstruct example

# Where the reference data are absent, the embedded bundle and the shipped example give some.
figures: $(STAMP)
	@data=$${METABENCH_SHARED:-../shared}/data; test -d $$data && data="--data $$data" || data=; \
	    $(BIN)/metabench-py figures all $$data --format pdf,svg,png --out build/figures

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-system:
	@PYTHON=$(PYTHON) sh tests/system/install-tools.sh .venv-system
	METABENCH_SYSTEM_TESTS=1 METABENCH_REQUIRE_HARNESS=1 METABENCH_REQUIRE_CARET=1 METABENCH_REQUIRE_PSYCH=1 \
	    .venv-system/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=10 \
	    tests/system tests/bridge/test_sampling.py tests/bridge/test_dask.py tests/parity/test_split_parity.py \
	    tests/parity/test_factor_parity.py

parity: $(STAMP)
	$(BIN)/python -m pytest -m 'slow or not slow' tests/parity

bench: $(STAMP)
	@for file in tests/bench/bench_*.py; do \
	    case $$file in *_accuracy.py) continue;; esac; $(BIN)/python $$file || exit 1; done

# By itself: whoever looks at the test LLMs adds to the script's count of looks.
bench-accuracy: $(STAMP)
	@$(BIN)/python tests/bench/bench_accuracy.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-system build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

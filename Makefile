# Everything runs inside .venv, which is made from pyproject.toml. `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-daemon
LOWEST := .venv-lowest
# Tests and benchmarks start hundreds of processes. Without compiled files each would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-types test-lowest soak fuzz bench scale check format clean

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP) ## make the virtual environment

# Installs what the daemon needs, unless `make setup` has installed everything. pip shows its progress.
$(DEMO_STAMP): pyproject.toml
	@if [ $(STAMP) -nt pyproject.toml ]; then exit 0; fi; \
	echo "Installs comfyledger and what its daemon needs into $(VENV), once." && \
	$(PYTHON) -m venv $(VENV) && \
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[daemon]'
	@touch $(DEMO_STAMP)

STORE ?= folder
BACKENDS ?= 1
demo: $(DEMO_STAMP) ## run the main job once: stand-in, daemon, four batches at the same time (STORE=cloudinary BACKENDS=2)
	$(BIN)/comfyledger demo --store $(STORE) --backends $(BACKENDS)

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-lowest: ## install a wheel with the lowest versions allowed; run the main job outside the repository
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/support/lowest_versions.py > $(LOWEST)/constraints.txt
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(LOWEST)/wheels .
	wheel=$$(ls $(LOWEST)/wheels/comfyledger-*.whl) && $(LOWEST)/bin/python -m pip install --quiet \
	  --disable-pip-version-check -c $(LOWEST)/constraints.txt "$$wheel[daemon,speed]"
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger config example | cmp - $(CURDIR)/config.toml
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger systemd print > $(CURDIR)/$(LOWEST)/units
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger demo

test-types: $(STAMP) ## make TypeScript types from the schemas and compile a program that uses them (needs node)
	$(BIN)/python tests/types/check.py

test-service: $(STAMP) ## test the service under a real systemd in a container (needs root and about two minutes)
	$(BIN)/python tests/service/boot.py

IMAGES ?= 2000
EVERY_S ?= 2
soak: $(STAMP) ## render many images with a fault every few seconds (IMAGES=2000 EVERY_S=2 SEED=)
	$(BIN)/python tests/whole/soak.py --images $(IMAGES) --every-s $(EVERY_S) $(if $(SEED),--seed $(SEED))

INPUTS ?= 1000000
fuzz: $(STAMP) ## send hostile frames and HTTP requests to the server, and frames from ComfyUI (INPUTS=1000000 SEED=)
	$(BIN)/python tests/fuzzing.py --inputs $(INPUTS) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) ## run all benchmarks; docs/performance.md has results and aims
	$(BIN)/python benchmarks/run.py

scale: $(STAMP) ## measure commands that read 162,000 images: memory and time
	$(BIN)/python tests/whole/scale.py

check: $(STAMP) ## run ruff, mypy --strict and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

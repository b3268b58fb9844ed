# Everything runs inside .venv, which is made from pyproject.toml. `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMMA := ,
STORE ?= folder
BOXES ?= 1
DEMO_EXTRAS := daemon$(if $(filter s3,$(STORE)),$(COMMA)objects)$(if $(filter-out 1,$(BOXES)),$(COMMA)fleet)
DEMO_STAMP := $(VENV)/.installed-$(DEMO_EXTRAS)
LOWEST := .venv-lowest
# Tests and benchmarks start hundreds of processes. Without compiled files each would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test azurite test-types typescript-types test-typescript page check-page test-page screenshots test-lowest soak fuzz bench bench-all scale check format clean

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

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
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[$(DEMO_EXTRAS)]'
	@touch $(DEMO_STAMP)

BACKENDS ?= 1
demo: $(DEMO_STAMP) ## run the main job once: stand-in, daemon, four batches at the same time (STORE=cloudinary|s3 BACKENDS=2 BOXES=3 KEEP=1)
	$(BIN)/comfyledger demo --store $(STORE) --backends $(BACKENDS) --boxes $(BOXES) $(if $(KEEP),--keep)

test: $(STAMP) ## run all tests but those of the web page
	$(BIN)/python -m pytest -n 3 --dist worksteal --ignore=tests/page

azurite: ## install Azurite, which tests of object stores use in place of Azure (needs node)
	cd tests/support/azurite && npm ci --ignore-scripts --no-audit --no-fund

test-page: $(STAMP) ## test the web page in Chromium, with a real daemon and stand-ins (needs node for axe)
	cd clients/page && npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/page

SHOTS ?= /tmp/comfyledger-screenshots
screenshots: $(STAMP) ## take pictures of every view of the web page, and that of README (SHOTS=/tmp/comfyledger-screenshots)
	$(BIN)/python tests/page/screenshots.py $(SHOTS) --readme

test-lowest: ## install a wheel with the lowest versions allowed; run the main job outside the repository, with a folder and a bucket
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/support/lowest_versions.py > $(LOWEST)/constraints.txt
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(LOWEST)/wheels .
	wheel=$$(ls $(LOWEST)/wheels/comfyledger-*.whl) && $(LOWEST)/bin/python -m pip install --quiet \
	  --disable-pip-version-check -c $(LOWEST)/constraints.txt "$$wheel[daemon,objects,speed,video]"
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger config example | cmp - $(CURDIR)/config.toml
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger systemd print > $(CURDIR)/$(LOWEST)/units
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger demo
	cd / && $(CURDIR)/$(LOWEST)/bin/comfyledger demo --store s3

test-types: $(STAMP) ## make TypeScript types from the schemas and compile a program that uses them (needs node)
	$(BIN)/python tests/types/check.py

typescript-types: $(STAMP) ## write the TypeScript client's types anew after a change of the wire (needs node)
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/python clients/typescript/generate.py

test-typescript: $(STAMP) ## test the TypeScript client in Node and Chromium, over killed daemons (needs node)
	$(BIN)/python tests/typescript/check.py

page: ## build the web page into the daemon's package after a change of clients/page (needs node)
	cd clients/page && npm ci --ignore-scripts --no-audit --no-fund && npm run -s check && npm run -s build

check-page: ## prove that the committed page is what its sources give, and small enough (needs node)
	cd clients/page && npm ci --ignore-scripts --no-audit --no-fund && npm run -s check && npm run -s check-bundle

test-service: $(STAMP) ## test the service under a real systemd in a container (needs root and about two minutes)
	$(BIN)/python tests/service/boot.py

IMAGES ?= 2000
EVERY_S ?= 2
soak: $(STAMP) ## render many images with a fault every few seconds (IMAGES=2000 EVERY_S=2 BACKENDS=1 SEED=)
	$(BIN)/python tests/whole/soak.py --images $(IMAGES) --every-s $(EVERY_S) --backends $(BACKENDS) \
		$(if $(SEED),--seed $(SEED))

INPUTS ?= 1000000
fuzz: $(STAMP) ## send hostile frames and HTTP requests to the server, and frames from ComfyUI (INPUTS=1000000 SEED=)
	$(BIN)/python tests/fuzzing.py --inputs $(INPUTS) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) ## run the benchmarks that take less than ten minutes; docs/performance.md has results and aims
	$(BIN)/python benchmarks/run.py

bench-all: $(STAMP) ## run all benchmarks
	$(BIN)/python benchmarks/run.py --all

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

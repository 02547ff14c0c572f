# The one door. `make demo` and `make test` need Debian 12, Python 3.11, cc and root; they make
# their own environment in .venv and install the Debian packages that they use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

LOCK   := $(VENV)-tools/bin/uv pip compile --upgrade --python-version 3.11 --universal --generate-hashes --quiet \
          --no-header --no-annotate pyproject.toml

# Debian package -> a file it brings; only what is missing is installed.
DEBIAN_TEST := containernetworking-plugins:/usr/lib/cni/bridge iproute2:/sbin/ip strace:/usr/bin/strace \
               iputils-ping:/bin/ping musl-tools:/usr/bin/musl-gcc \
               kubernetes-client:/usr/bin/kubectl prometheus:/usr/bin/promtool

.PHONY: help demo test simulate fuzz fuzz-shim e2e check bench format lock audit release clean debian

help: ## Show this list
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(STAMP): pyproject.toml tests/requirements.txt
	$(PYTHON) -m venv $(VENV) || { apt-get update -q && apt-get install -y -q python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

debian:
	@missing=""; for p in $(DEBIAN_TEST); do [ -e "$${p#*:}" ] || missing="$$missing $${p%%:*}"; done; \
	if [ -n "$$missing" ]; then \
	    echo "installing Debian packages:$$missing"; \
	    apt-get update -q >/dev/null && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null; \
	fi

demo: $(STAMP) debian ## Start everything and show the main job
	$(BIN)/ipledger demo

test: $(STAMP) debian ## Run all tests, on real servers and real plugins
	$(BIN)/python -m pytest $(PYTEST_ARGS)

simulate: $(STAMP) ## Run the simulator on SEEDS=<how many>; tell one run with SEED=<which>; try MISTAKES=1
	PYTHONPATH=tests $(BIN)/python -m simulation \
	    $(if $(MISTAKES),--mistakes,$(if $(SEED),--seed $(SEED),$(or $(SEEDS),1000)))

fuzz: $(STAMP) ## Feed hostile input to every edge, or TARGETS="cni …", for MINUTES=5 (DRIVER=atheris)
	PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(or $(MINUTES),5) --driver $(or $(DRIVER),hypothesis) $(TARGETS)

fuzz-shim: $(STAMP) ## Feed hostile input to the sanitized C shim for MINUTES=5 (clang with libFuzzer, else cc)
	tests/fuzz/shim.sh $(or $(MINUTES),5)

e2e: $(STAMP) debian ## Run the tests on a real cluster; the first time builds it (ten minutes)
	tests/e2e/run.sh $(PYTEST_ARGS)

check: $(STAMP) ## Format, lint, types, import layers, purity of the core
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_purity.py tests/unit/test_layout.py tests/unit/test_lock.py

format: $(STAMP) ## Rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) debian ## Measure, side by side with peers; ONLY="engine add" for some
	PYTHONPATH=tests $(BIN)/python bench/run.py $(ONLY)

lock: ## Write both requirements.txt anew: the newest of everything, with hashes
	$(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install --quiet uv
	$(LOCK) -o deploy/requirements.txt
	sed -i '1i # What the image and a release run with; `make lock` writes it from pyproject.toml.' deploy/requirements.txt
	$(LOCK) --extra embedded --extra dev --extra bench -o tests/requirements.txt
	sed -i '1i # What `make` works with; `make lock` writes it from pyproject.toml.' tests/requirements.txt

audit: ## Ask the advisory database about what is locked (needs the network)
	$(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install --quiet pip-audit
	$(VENV)-tools/bin/pip-audit --strict --require-hashes --disable-pip \
	    -r deploy/requirements.txt -r tests/requirements.txt

release: ## Build the wheel, and a CycloneDX list of what it runs with, into dist
	$(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install --quiet build cyclonedx-bom
	$(VENV)-tools/bin/python -m build --wheel --outdir dist .
	$(VENV)-tools/bin/cyclonedx-py requirements deploy/requirements.txt --pyproject pyproject.toml \
	    --output-reproducible --output-format JSON --output-file dist/sbom.cdx.json

clean: ## Remove the environment and all caches
	rm -rf $(VENV) $(VENV)-tools build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Gallerist. `make demo` shows it at work; `make test` proves it. Both set up what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
CHECKOV := .venv-checkov
KQL := infra/kql/node_modules/@kusto/language-service-next/package.json
PY := $(VENV)/bin/python
AZURITE := sandbox/node_modules/azurite/package.json

# The newest supported interpreter that really starts. A version manager's shim may be on PATH and start nothing,
# and a version it holds may be on no PATH at all, so every candidate is run before it is chosen.
define FIND_PYTHON
for python in $${PYTHON:-} python3.14 python3.13 python3.12 python3.11 \
    $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[1-4]*/bin/python 2>/dev/null) python3 python; do \
  "$$python" -c 'import sys, ssl, venv, ensurepip; v = sys.version_info; (3, 11) <= v[:2] <= (3, 14) and print(v[1], sys.executable)' 2>/dev/null; \
done | sort -rn | head -n 1 | cut -d" " -f2-
endef

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.PHONY: setup
setup: $(VENV)/.installed $(AZURITE) ## Install everything into .venv and sandbox/node_modules

$(VENV)/.installed: requirements-dev.txt
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
	  echo "missing: Python 3.11 to 3.14 with venv (Debian: apt install python3 python3-venv; or set PYTHON=/path/to/python)" >&2; exit 1; \
	fi; \
	echo "using $$("$$python" --version) at $$python"; \
	"$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(AZURITE): sandbox/package-lock.json
	@command -v npm >/dev/null || { echo "missing: npm, with Node.js 20 or newer (Azurite, the storage of the sandbox, runs on it)" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null || { echo "missing: Node.js 20 or newer (found: $$(node --version 2>/dev/null || echo none))" >&2; exit 1; }
	@cd sandbox && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: demo
demo: setup ## Drop a real VHD into an Azure on this machine and watch it become a version (VHD=path for your own)
	@$(PY) -m sandbox demo $(if $(VHD),--vhd "$(VHD)")

.PHONY: test
test: setup ## Run every test
	@$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

.PHONY: uploads
uploads: setup ## Play two hundred uploads, in any order, by azcopy where there is one, killed and whole (half an hour)
	@UPLOAD_SCHEDULES=160 AZCOPY_SCHEDULES=40 $(PY) -m pytest tests/scenarios/test_upload_schedules.py -n 2 $(ARGS)

.PHONY: fuzz
fuzz: setup ## Hold 10,000 examples of each kind against the readers of what comes from outside (FUZZ_EXAMPLES=n)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-10000} $(PY) -m pytest tests/fuzz -n 2 --dist worksteal $(ARGS)

.PHONY: check
check: setup infra-check ## Lint, format, types and infra
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

# In an environment of its own: checkov pins a hundred packages. It passes over what it cannot read, and says so.
$(CHECKOV)/.installed: infra/requirements-checkov.txt
	@"$$($(FIND_PYTHON))" -m venv --clear $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/requirements-checkov.txt
	@touch $@

$(KQL): infra/kql/package-lock.json
	@cd infra/kql && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: infra-check
infra-check: setup $(CHECKOV)/.installed $(KQL) ## Check infra/: Bicep against Azure's types, the code and a security scanner; queries
	@$(PY) -m pytest tests/infra -n 0 -q -k "not sandbox"
	@node infra/kql/check.cjs
	@$(CHECKOV)/bin/checkov -d infra --framework bicep --compact --quiet --skip-download > $(CHECKOV)/found 2>/dev/null; \
	status=$$?; cat $(CHECKOV)/found; test $$status = 0 && grep -q "^Passed checks" $(CHECKOV)/found && ! grep -q "Parsing errors" $(CHECKOV)/found

.PHONY: bench
bench: setup ## What one publish costs: calls, bytes, seconds
	@$(PY) -m sandbox bench

.PHONY: lock
lock: ## Resolve requirements.txt and requirements-dev.txt anew (one resolution, Python 3.11 and up)
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -o requirements.txt
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -c requirements.txt -o requirements-dev.txt
	@uv pip compile infra/checkov.in --override infra/checkov.override --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -o infra/requirements-checkov.txt

.PHONY: clean
clean: ## Remove what setup, sandbox and tests left
	@rm -rf $(VENV) $(CHECKOV) infra/kql/node_modules sandbox/node_modules .sandbox .pytest_cache .mypy_cache .ruff_cache .hypothesis

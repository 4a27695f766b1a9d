# Gallerist. `make demo` shows it at work; `make test` proves it. Both set up what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
CHECKOV := .venv-checkov
SECURITY := .venv-security
KQL := infra/kql/node_modules/@kusto/language-service-next/package.json
PY := $(VENV)/bin/python
AZURITE := sandbox/node_modules/azurite/package.json

# Prints "minor version, path" of an interpreter that serves, else says why it does not.
SERVES := import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 14) or sys.exit("it is Python %d.%d" % v); \
  from importlib.util import find_spec; lacks = [m for m in ("_ssl", "venv", "ensurepip") if not find_spec(m)]; \
  sys.exit("it has no module " + lacks[0]) if lacks else print(v[1], sys.executable)

# PYTHON, where it is set, and no other; else the newest that really starts. A version manager's shim may be on PATH and
# start nothing, and a version it holds may be on no PATH at all, so every candidate is run before it is chosen.
define FIND_PYTHON
if [ -n "$${PYTHON:-}" ]; then \
  found="$$("$$PYTHON" -c '$(SERVES)' 2>&1)" || { \
    echo "PYTHON=$$PYTHON does not serve: $$(head -n 1 <<< "$$found"). Name a Python 3.11 to 3.14 with venv and ssl" >&2; exit 1; }; \
else \
  found="$$(for python in python3.14 python3.13 python3.12 python3.11 \
      $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[1-4]*/bin/python 2>/dev/null) python3 python; do \
    "$$python" -c '$(SERVES)' 2>/dev/null; \
  done | sort -rn | head -n 1)"; \
  [ -n "$$found" ] || { echo "missing: Python 3.11 to 3.14 with venv (Debian: apt install python3 python3-venv; or set PYTHON=/path/to/python)" >&2; exit 1; }; \
fi; \
cut -d" " -f2- <<< "$$found"
endef

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.PHONY: setup
setup: venv $(AZURITE) ## Install everything into .venv and sandbox/node_modules (PYTHON=python3.12 chooses the interpreter)

# Made anew where requirements-dev.txt is newer, where PYTHON is another version, and where its interpreter is gone.
.PHONY: venv
venv:
	@version='import platform; print(platform.python_version())'; \
	has="$$($(PY) -c "$$version" 2>/dev/null)"; \
	if [ -n "$${PYTHON:-}" ] || [ -z "$$has" ] || [ ! $(VENV)/.installed -nt requirements-dev.txt ]; then \
	  python="$$($(FIND_PYTHON))" || exit 1; \
	  if [ ! $(VENV)/.installed -nt requirements-dev.txt ] || [ "$$("$$python" -c "$$version")" != "$$has" ]; then \
	    echo "making $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) && \
	    $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt && \
	    touch $(VENV)/.installed || exit 1; \
	  fi; \
	fi; \
	echo "using $$($(PY) --version) in $(VENV)"

$(AZURITE): sandbox/package-lock.json
	@command -v npm >/dev/null || { echo "missing: npm, with Node.js 20 or newer (Azurite, the storage of the sandbox, runs on it)" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null || { echo "missing: Node.js 20 or newer (found: $$(node --version 2>/dev/null || echo none))" >&2; exit 1; }
	@cd sandbox && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: demo
demo: setup ## Drop a real VHD into an Azure on this machine and watch it become a version (VHD=path for your own)
	@$(PY) -m sandbox demo $(if $(VHD),--vhd "$(VHD)")

.PHONY: test
test: setup ## Run every test
	@$(PY) -m pytest -n 2 --dist worksteal -m "not compiler" $(ARGS)

.PHONY: uploads
uploads: setup ## Play two hundred uploads, in any order, by azcopy where there is one, killed and whole (half an hour)
	@UPLOAD_SCHEDULES=160 AZCOPY_SCHEDULES=40 $(PY) -m pytest tests/scenarios/test_upload_schedules.py -n 2 $(ARGS)

.PHONY: fuzz
fuzz: setup ## Hold 10,000 examples of each kind against the readers of what comes from outside (FUZZ_EXAMPLES=n)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-10000} $(PY) -m pytest tests/fuzz -n 2 --dist worksteal $(ARGS)

.PHONY: check
check: setup infra-check security-check ## Lint, format, types, infra, and what is known against what is locked
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

# In an environment of its own: checkov pins a hundred packages.
$(CHECKOV)/.installed: infra/requirements-checkov.txt
	@python="$$($(FIND_PYTHON))" && "$$python" -m venv --clear $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/requirements-checkov.txt
	@touch $@

# Likewise, for what it holds is no part of what it looks at. zizmor comes later: not every machine has a wheel of it.
$(SECURITY)/.installed: infra/requirements-pip-audit.txt infra/requirements-zizmor.txt
	@python="$$($(FIND_PYTHON))" && "$$python" -m venv --clear $(SECURITY)
	@$(SECURITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/requirements-pip-audit.txt
	@touch $@

$(KQL): infra/kql/package-lock.json
	@cd infra/kql && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: infra-check
infra-check: setup $(CHECKOV)/.installed $(KQL) ## Check infra/: Bicep by its compiler, where there is one; the deployment; queries; a security scanner
	@$(PY) -m pytest tests/infra -n 2 -q -k "not sandbox"
	@node infra/kql/check.cjs
	@$(VENV)/bin/shellcheck infra/*.sh .ci/run
	@$(PY) -m tests.infra.snapshots $(CHECKOV)/templates
	@$(CHECKOV)/bin/checkov -d $(CHECKOV)/templates --framework arm --config-file infra/checkov.yaml --compact --quiet --skip-download > $(CHECKOV)/found 2>/dev/null; \
	status=$$?; cat $(CHECKOV)/found; test $$status = 0 && grep -q "^Passed checks" $(CHECKOV)/found && ! grep -q "Parsing errors" $(CHECKOV)/found

.PHONY: security-check
security-check: $(SECURITY)/.installed ## Ask the index for vulnerabilities of what is locked, where it answers; scan the workflows, where zizmor installs
	@$(SECURITY)/bin/python infra/audit.py requirements.txt requirements-dev.txt requirements-cli.txt
	@[ -x $(SECURITY)/bin/zizmor ] || \
	  said="$$($(SECURITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r infra/requirements-zizmor.txt 2>&1)" || \
	  grep -q "No matching distribution" <<< "$$said" || { echo "$$said" >&2; exit 1; }
	@if [ -x $(SECURITY)/bin/zizmor ]; then \
	  $(SECURITY)/bin/zizmor --offline --persona pedantic --quiet .; \
	else \
	  echo "the workflows were not scanned: pip finds no zizmor for this machine"; \
	fi

.PHONY: snapshots
snapshots: setup ## Evaluate the deployment anew into infra/snapshots (takes the Bicep compiler: BICEP, bicep, az bicep)
	@$(PY) -m tests.infra.compiler

.PHONY: bench
bench: setup ## What one publish costs: calls, bytes, seconds
	@$(PY) -m sandbox bench

.PHONY: package
package: venv ## Make the packages that are deployed, for where the app runs, and index the app from them alone
	@sh infra/package.sh
	@$(PY) -m sandbox.deployed

.PHONY: lock
lock: ## Resolve anew: requirements-dev.txt for every Python that is supported, requirements-cli.txt of it, and requirements.txt for the function app's
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -o requirements-dev.txt
	@uv pip compile pyproject.toml --python-version $$($(PY) infra/package.py --python-version) --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-emit-index-url --quiet -c requirements-dev.txt -o requirements.txt
	@uv pip compile pyproject.toml --extra cli --group build --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -c requirements-dev.txt -o requirements-cli.txt
	@for tool in checkov pip-audit zizmor; do \
	  uv pip compile infra/$$tool.in --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet -o infra/requirements-$$tool.txt || exit 1; \
	done

.PHONY: clean
clean: ## Remove what setup, sandbox and tests left
	@rm -rf $(VENV) $(CHECKOV) $(SECURITY) .ci/node_modules infra/kql/node_modules sandbox/node_modules .python_packages .sandbox .pytest_cache .mypy_cache .ruff_cache .hypothesis

#!/bin/sh
# Before azd packs the app: its packages, for the Python that runs it in Azure.
set -eu
cd "$(dirname "$0")/.."
for python in .venv/bin/python python3 python; do
  if "$python" -m pip --version >/dev/null 2>&1; then
    exec "$python" infra/package.py
  fi
done
echo "missing: Python with pip, of any version from 3.9 on (Debian: apt install python3-pip; or run make setup)" >&2
exit 1

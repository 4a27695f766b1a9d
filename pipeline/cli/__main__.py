"""`python -m pipeline.cli`: the command line without an installation."""

from __future__ import annotations

from pipeline.cli.app import main

main()

"""The JSON Schemas that editors and build systems check by; `python -m pipeline.schemas` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from pipeline.catalog import Catalog
from pipeline.requests import PublishRequest, Verdict

FOLDER = Path(__file__).parent.parent / "schemas"


def schemas() -> dict[str, str]:
    """File name and text of each schema, as the code has it."""
    models: dict[str, type[BaseModel]] = {
        "catalog.schema.json": Catalog,
        "publish-request.schema.json": PublishRequest,
        "verdict.schema.json": Verdict,
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: json.dumps(dialect | model.model_json_schema(), indent=2) + "\n" for name, model in models.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")

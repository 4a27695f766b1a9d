"""An Azure whose time can be moved on, and a staging gallery with rules that lead to production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline import amendments, engine, promotion
from pipeline.access import Caller, Role, of_key
from pipeline.catalog import Promotion
from pipeline.context import Context
from pipeline.gates import Judged
from pipeline.requests import parse_verdict
from pipeline.runs import Run, Stage
from sandbox import disk
from tests.azure import Azure
from tests.steps import finish, tell

HOUR, DAY = 3600, 24 * 3600
STAGING, PRODUCTION = (f"/subscriptions/00000000-0000-4000-8000-00000000000{n}" for n in "ab")
GALLERIES = {
    "staging": f"{STAGING}/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galStaging",
    "production": f"{PRODUCTION}/resourceGroups/rg-prod/providers/Microsoft.Compute/galleries/galProduction",
    "soft": f"{STAGING}/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galSoft",
}
PASSED = {"tests": "passed"}
TESTER = of_key(Role.TESTER)
ANN = Caller("5b2c1d7e-0000-4000-8000-0000000000aa", "ann", frozenset({Role.OPERATOR}))


def write_catalog(
    path: Path, kinds: dict[str, tuple[dict[str, Any], dict[str, Any] | None]], each: int, fan: int = 0
) -> Path:
    """A catalog of `each` images of every kind: what an image says, and what its promotion rule does, if it has one.

    With `fan`, an image `fan` that so many rules promote, each into an image `fan-000` and on of its own.
    """
    images: dict[str, Any] = {}
    promotions = []
    for n in range(fan):
        name = f"fan-{n:03}"
        definition = {"publisher": "Contoso", "offer": "fan", "sku": name, "os_type": "Linux"}
        images |= {"fan": {"gallery": "staging", "drop": "vhds/fan/*.vhd", "definition": definition}} if n == 0 else {}
        images[name] = {"gallery": "production", "definition": definition}
        promotions.append({"name": name, "from": "fan", "to": {"gallery": "production", "definition": name}})
    for kind, (image, rule) in kinds.items():
        for n in range(each):
            name = f"{kind}-{n:03}"
            images[name] = {
                "gallery": "staging",
                "drop": f"vhds/{name}/*.vhd",
                "sources": ["vhds/**", f"{STAGING}/**"],
                "definition": {"publisher": "Contoso", "offer": kind, "sku": name, "os_type": "Linux"},
                "regions": [{"name": "westeurope"}, {"name": "northeurope"}],
                **image,
            }
            if rule is not None:
                promotions.append({"from": name, "to": {"gallery": "production"}, **rule})
    galleries = {name: {"id": id_, "location": "westeurope"} for name, id_ in GALLERIES.items()}
    path.write_text(yaml.safe_dump({"galleries": galleries, "images": images, "promotions": promotions}))
    return path


class Life:
    """What people, builds and nights do to images."""

    def __init__(self, azure: Azure, ctx: Context, folder: Path) -> None:
        self.azure, self.ctx, self.folder = azure, ctx, folder
        self._vhd = disk.make_vhd(folder / "x.vhd", 20)
        self._builds = self._said = 0

    def image(self, kind: str) -> str:
        return self.azure.image(kind)

    def build(self, image: str) -> Run:
        """A build is dropped and published; the run that did it."""
        run = finish(self.ctx, self.dropped(image).id)
        assert run.stage is Stage.PUBLISHED, run.reason
        return run

    def dropped(self, image: str) -> Run:
        """A build is dropped; the run that is to publish it."""
        self._builds += 1
        run = tell(self.azure, self.ctx, self.azure.drop(image, self._vhd, f"{self._builds}.vhd"))
        assert run
        return run

    def slow(self, path: str) -> None:
        """Versions whose id holds `path` take most of an hour to replicate."""
        rule = {"path": path, "regions": {"*": {"seconds": 3000}}}
        self.azure.arm.post("/sandbox/replication", json=rule).raise_for_status()

    def verdict(self, image: str, version: str, outcome: str = "passed", name: str = "tests") -> None:
        said = {"image": image, "version": version, "outcome": outcome, "name": name, "by": "ci"}
        self.amended(amendments.judge_version(self.ctx, parse_verdict(said), TESTER))

    def says(self, image: str, version: str, outcome: str, name: str = "tests", caller: Caller = TESTER) -> Run | None:
        """A verdict is given, the nth one of this life; the run that is to write it, if any."""
        self._said += 1
        said = {
            "image": image,
            "version": version,
            "outcome": outcome,
            "name": name,
            "details": f"{outcome}/{self._said}",
        }
        return amendments.judge_version(self.ctx, parse_verdict(said), caller)

    def judged(self, image: str, version: str) -> Judged:
        """What stands of what was said of a version."""
        found = self.ctx.compute.version(self.ctx.definition_of(image), version)
        return self.ctx.judgements.of(found.fingerprint)

    def amended(self, *runs: Run | None) -> list[Run]:
        """The runs once they have ended well."""
        ended = [finish(self.ctx, run.id) for run in runs if run]
        assert all(run.stage is Stage.AMENDED for run in ended), [run.reason for run in ended]
        return ended

    def rule(self, image: str) -> Promotion:
        (rule,) = self.ctx.catalog.rules_from(image)
        return rule

    def promote(self, image: str) -> promotion.Promoted:
        """What the night does by the rule of an image, without the steps of the run it begins."""
        return promotion.promote(self.ctx, self.rule(image))

    def promoted(self, image: str) -> Run:
        """The promotion the night begins, at its end."""
        run = self.promote(image).run
        assert run
        return finish(self.ctx, run.id)

    def why(self, image: str) -> str:
        """Why nothing moves."""
        done = self.promote(image)
        assert done.run is None
        assert done.plan
        return promotion.why_nothing(done.plan)

    def ripe(self, image: str) -> str:
        """A version that has passed its tests and soaked."""
        version = str(self.build(image).version)
        self.verdict(image, version)
        self.azure.advance(25 * HOUR)
        return version

    def there(self, image: str) -> dict[str, Any]:
        """What production holds of an image, by number."""
        target = f"{image}-production"
        return {name: self.azure.version(target, name) for name in self.azure.versions(target)}

    def stepped(self, run: Run, until: Stage) -> Run:
        """A run as soon as it has come to a stage."""
        while run.stage is not until:
            assert not run.stage.ended, run.reason
            engine.step(self.ctx, run.id, run.generation)
            loaded = self.ctx.runs.load(run.id)
            assert loaded
            run = loaded[0]
        return run


def in_latest(version: dict[str, Any]) -> bool:
    """Whether every region may take a version, as ARM describes it, for latest."""
    profile = version["properties"]["publishingProfile"]
    return not any(target.get("excludeFromLatest", profile["excludeFromLatest"]) for target in profile["targetRegions"])

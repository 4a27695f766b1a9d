"""Every Bicep file: it parses, what it names is there, and Azure knows what it writes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra import types
from tests.infra.bicep import INFRA, ROOT, File, Module, files, module, read

MAIN = read(INFRA / "main.bicep")
TABLE = json.loads(types.TABLE.read_text(encoding="utf-8"))
RESOURCES = [(file, resource) for resources in types.used().values() for file, resource in resources]
BUILT_IN = {
    # Azure built-in roles, by the ids that Microsoft's list gives them.
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "d5a91429-5739-47e2-a06b-3470a27159e7": "EventGrid Data Sender",
}


def _names(text: str) -> set[str]:
    """The identifiers in a text, comments and strings left out but for what they interpolate."""
    text = re.sub(r"^\s*//.*$|\s//\s.*$", "", text, flags=re.MULTILINE)
    inner = " ".join(re.findall(r"\$\{([^}]*)\}", text))
    return set(re.findall(r"\b[A-Za-z_]\w*\b", re.sub(r"'[^']*'", "''", text) + " " + inner))


@pytest.mark.parametrize("file", files(), ids=lambda file: file.path.name)
def test_a_file_parses(file: File) -> None:
    assert file.faults == []
    assert file.resources or file.modules


@pytest.mark.parametrize("file", files(), ids=lambda file: file.path.name)
def test_a_file_uses_all_that_it_declares(file: File) -> None:
    text = file.path.read_text(encoding="utf-8")
    for name in [*file.params, *file.vars]:
        declared = re.sub(rf"^(param|var) {name}\b", "", text, flags=re.MULTILINE)
        assert name in _names(declared), f"{file.path.name}: nothing uses {name}"


@pytest.mark.parametrize("it", MAIN.modules, ids=lambda it: it.symbol)
def test_a_module_is_there_and_gets_what_it_takes(it: Module) -> None:
    inner = read(INFRA / it.path)
    given = it.body.get("params", {})
    assert set(given) <= set(inner.params), f"{it.symbol} takes no {set(given) - set(inner.params)}"
    wanted = {name for name, default in inner.params.items() if default is ...}
    assert wanted <= set(given), f"{it.symbol} wants {wanted - set(given)}"
    assert ("scope" in it.body) == (it.symbol != "roles"), (
        "only the roles are made on the deployment's own subscription"
    )


def test_every_module_is_used() -> None:
    assert {INFRA / it.path for it in MAIN.modules} == set((INFRA / "modules").glob("*.bicep"))


def test_every_output_that_is_read_is_one() -> None:
    text = MAIN.path.read_text(encoding="utf-8")
    read_of = set(re.findall(r"\b(\w+)!?\.outputs\.(\w+)", text))
    outputs = {(it.symbol, name) for it in MAIN.modules for name in read(INFRA / it.path).outputs}
    assert read_of <= outputs
    unread = {(symbol, name) for symbol, name in outputs if (symbol, name) not in read_of}
    assert unread == set(), "outputs that nobody reads"


def test_what_may_not_be_there_is_read_only_where_it_is() -> None:
    """A module under a condition has no outputs elsewhere."""
    text = MAIN.path.read_text(encoding="utf-8")
    for it in MAIN.modules:
        for found in re.finditer(rf"(.*)\b{it.symbol}(!?)\.outputs", text):
            assert bool(found[2]) == bool(it.condition), f"{it.symbol}: {found[0].strip()}"
            assert not it.condition or f"{it.condition.strip('()')} ?" in found[1], found[0].strip()


def test_main_describes_each_parameter_and_azd_may_set_it() -> None:
    assert MAIN.scope == "subscription"
    own = {"environmentName", "location"}
    assert set(MAIN.params) - MAIN.described <= {"environmentName"}
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    assert set(given) <= set(MAIN.params)
    assert own <= set(given)
    for name, entry in given.items():
        value = entry["value"]
        if isinstance(value, str) and name not in own:
            found = re.fullmatch(r"\$\{([A-Z_]+)=(.*)\}", value)
            assert found, f"{name}: {value}"
            value = {"true": True, "false": False}.get(found[2], found[2])
        assert name in own or value == MAIN.params[name], f"{name}: the file says {value}, Bicep {MAIN.params[name]}"


def test_the_docs_tell_of_each_parameter() -> None:
    """By its own name, and by the variable that azd sets it by."""
    told = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    for name in set(MAIN.params) - {"environmentName", "location"}:
        assert f"`{name}`" in told, f"docs/deploy.md does not tell of {name}"
        value = given.get(name, {}).get("value", "")
        if isinstance(value, str) and value:
            variable = value[2:].partition("=")[0]
            assert variable in told, f"docs/deploy.md does not tell of {variable}"
    for name in re.findall(r"^azd env set (\w+)", told, re.MULTILINE):
        assert re.search(rf"\$\{{{name}[=}}]", json.dumps(given)), (
            f"docs/deploy.md sets {name}, which no parameter reads"
        )


@pytest.mark.parametrize(("file", "resource"), RESOURCES, ids=[f"{f.path.stem}-{r.symbol}" for f, r in RESOURCES])
def test_azure_knows_what_is_written(file: File, resource: types.Resource) -> None:
    """Types, versions, property names, words that are taken: as Bicep's own definitions have them."""
    shape = TABLE["types"].get(f"{resource.type}@{resource.version}")
    assert shape, f"make infra/types.json anew: it has no {resource.type}@{resource.version}"
    if not resource.existing:
        assert types.faults(shape, types.written(file, resource), file, resource.symbol) == []


def test_a_wrong_property_does_not_pass() -> None:
    file = module("app-storage")
    account = next(one for one in file.resources if one.symbol == "account")
    shape = TABLE["types"][f"{account.type}@{account.version}"]
    body = dict(types.written(file, account), properties={"allowSharedKeyAcces": False, "minimumTlsVersion": 12})
    del body["kind"]
    assert types.faults(shape, body, file, "account") == [
        "account.properties: Azure knows no allowSharedKeyAcces",
        "account.properties.minimumTlsVersion: 12, where Azure takes ['TLS1_0', 'TLS1_1', 'TLS1_2', 'TLS1_3', 'string']",
        "account: misses kind",
    ]


def test_the_table_has_a_source_and_nothing_idle() -> None:
    assert re.fullmatch(r"github\.com/Azure/bicep-types-az at [0-9a-f]{40}", TABLE["source"])
    assert set(TABLE["types"]) == set(types.used())


def test_no_key_is_asked_for_given_or_shown() -> None:
    for file in files():
        text = re.sub(r"//.*", "", file.path.read_text(encoding="utf-8"))
        assert not re.search(r"\blist(Keys|AccountSas|ServiceSas|Secrets)\s*\(", text, re.IGNORECASE), file.path.name
        assert not re.search(r"AccountKey|SharedAccessKey|InstrumentationKey|@secure|[?&]sig=", text), file.path.name


def test_storage_takes_no_key_no_old_tls_and_no_anonymous_caller() -> None:
    accounts = [(f, r) for f, r in RESOURCES if r.type == "Microsoft.Storage/storageAccounts" and not r.existing]
    assert len(accounts) == 2
    for _, account in accounts:
        said = account.body["properties"]
        assert said["allowSharedKeyAccess"] is False
        assert said["allowBlobPublicAccess"] is False
        assert said["minimumTlsVersion"] == "TLS1_2"
        assert said["supportsHttpsTrafficOnly"] is True
    blobs = [r for _, r in RESOURCES if r.type == "Microsoft.Storage/storageAccounts/blobServices"]
    assert len(blobs) == 2
    for service in blobs:
        assert service.body["properties"]["deleteRetentionPolicy"]["enabled"] is True
        assert service.body["properties"]["containerDeleteRetentionPolicy"]["enabled"] is True


def test_nothing_that_signs_in_takes_a_password_beside() -> None:
    by_symbol = {(f.path.stem, r.symbol): r.body.get("properties", {}) for f, r in RESOURCES}
    assert by_symbol["monitoring", "workspace"]["features"]["disableLocalAuth"] is True
    assert by_symbol["monitoring", "applicationInsights"]["DisableLocalAuth"] is True
    assert by_symbol["announcements", "topic"]["disableLocalAuth"] is True
    assert by_symbol["function-app", "noFtpPassword"]["allow"] is False
    assert by_symbol["function-app", "noDeployPassword"]["allow"] is False
    assert by_symbol["function-app", "app"]["httpsOnly"] is True


def test_built_in_roles_are_those_they_are_said_to_be() -> None:
    named = set()
    for file in files():
        for identifier in re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", file.path.read_text("utf-8")):
            named.add(identifier)
            assert identifier in BUILT_IN, f"{file.path.name}: {identifier}"
    assert named == set(BUILT_IN)
    security = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert [role for role in BUILT_IN.values() if role not in security] == []


def test_each_suppression_says_why() -> None:
    for path in sorted(INFRA.rglob("*.bicep")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "checkov" in line:
                assert re.fullmatch(r"  // checkov:skip=CKV_AZURE_\d+: \S.{15,}", line), f"{path.name}: {line}"


def test_azd_deploys_this_app() -> None:
    import yaml

    azd = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    service = azd["services"]["api"]
    assert (service["host"], service["language"]) == ("function", "python")
    assert (ROOT / service["project"] / "host.json").exists()
    assert (ROOT / azd["infra"]["path"] / f"{azd['infra']['module']}.bicep").exists()
    tags = next(r for f, r in RESOURCES if r.symbol == "app").body["tags"]
    assert "'azd-service-name': 'api'" in tags.text
    for shell in service["hooks"]["prepackage"].values():
        assert Path(ROOT / shell["run"]).exists()
    steps = [step["azd"] for step in azd["workflows"]["up"]["steps"]]
    assert steps == ["provision", "deploy --all"], "the hook asks for what provision made"


def test_the_package_has_the_app_and_not_what_is_around_it() -> None:
    """azd packs what .funcignore does not name, an environment that it made itself too."""
    ignored = set((ROOT / ".funcignore").read_text(encoding="utf-8").split())
    assert {
        "tests/",
        "sandbox/",
        "infra/",
        "docs/",
        "pipeline/cli/",
        ".venv/",
        "*_env/",
        "local.settings.json",
    } <= ignored
    wanted = {"function_app.py", "host.json", "requirements.txt", "pipeline/", "catalog.yaml"}
    assert not wanted & ignored
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    tops = {name.split("/")[0] + "/" * ("/" in name) for name in listed}
    around = {top for top in tops - {".funcignore"} if top not in ignored and not top.startswith(".git")}
    assert around - wanted == set(), "say in .funcignore whether these are deployed"

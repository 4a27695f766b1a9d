"""What a deployment makes, by its committed snapshots: names, doors, keys, roles' ids, and what azd asks for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from pipeline.access import Role
from tests.infra.snapshots import DIGESTS, FOLDER, INFRA, KEPT, ROOT, assignments, digests, one, resources, settings

MAIN = (INFRA / "main.bicep").read_text(encoding="utf-8")
PARAMETERS = re.findall(r"^param (\w+)", MAIN, re.MULTILINE)
GIVEN = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
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

every_snapshot = pytest.mark.parametrize("name", KEPT)


def test_the_snapshots_are_of_these_sources() -> None:
    assert DIGESTS.read_text("utf-8") == digests(), "run: make snapshots, and look at what it changes"


@every_snapshot
def test_nothing_is_made_twice(name: str) -> None:
    ids = [str(one["id"]).lower() for one in resources(name)]
    assert sorted({one for one in ids if ids.count(one) > 1}) == []


@every_snapshot
def test_a_deployment_beside_another_shares_no_name_with_it(name: str) -> None:
    """Everything bears the environment's token or name, and no deployment inside has a name of its own."""
    for resource in resources(name):
        if resource["type"] in ("Microsoft.Resources/resourceGroups", "Microsoft.Insights/workbooks"):
            continue
        if "/roleDefinitions" in resource["type"] or "/roleAssignments" in resource["type"]:
            continue  # guids that are made of the token and of who the identity is
        if resource["type"].startswith("Microsoft.Network/privateDnsZones"):
            continue  # named by Azure, in the environment's own resource group
        assert "tx7kzk3y5622i" in resource["id"], resource["id"]
    sources = [INFRA / "main.bicep", *(INFRA / "modules").glob("*.bicep")]
    for path in sources:
        for module in re.findall(r"^module \w+ '[^']+' = .*?\n(.*?)\n", path.read_text("utf-8"), re.MULTILINE):
            assert not module.strip().startswith("name:"), f"{path.name}: {module}"


@every_snapshot
def test_everything_that_can_bear_tags_bears_them(name: str) -> None:
    wanted = {"azd-env-name": "prod"} | ({"cost-center": "4711"} if name == "everything" else {})
    bare = ("Microsoft.Authorization/", "Microsoft.Insights/diagnosticSettings", "Microsoft.Network/privateEndpoints/")
    for resource in resources(name):
        inside = resource["type"].count("/") > 1 and not resource["type"].endswith("virtualNetworkLinks")
        if not inside and not resource["type"].startswith(bare):
            assert wanted.items() <= resource["tags"].items(), resource["id"]


@every_snapshot
def test_storage_takes_no_key_no_old_tls_and_no_anonymous_caller(name: str) -> None:
    accounts = resources(name, "Microsoft.Storage/storageAccounts")
    assert len(accounts) == 2
    for account in accounts:
        said = account["properties"]
        assert said["allowSharedKeyAccess"] is False
        assert said["allowBlobPublicAccess"] is False
        assert said["minimumTlsVersion"] == "TLS1_2"
        assert said["supportsHttpsTrafficOnly"] is True
        assert said["sasPolicy"]["sasExpirationPeriod"] == "00.01:00:00"
    services = resources(name, "Microsoft.Storage/storageAccounts/blobServices")
    assert len(services) == 2
    for service in services:
        assert service["properties"]["deleteRetentionPolicy"]["enabled"] is True
        assert service["properties"]["containerDeleteRetentionPolicy"]["enabled"] is True


def test_a_private_network_shuts_the_app_account_and_leaves_the_vhds_to_azure_compute() -> None:
    app = one("everything", "Microsoft.Storage/storageAccounts", "app")["properties"]
    assert (app["publicNetworkAccess"], app["networkAcls"]["defaultAction"]) == ("Disabled", "Deny")
    vhds = one("everything", "Microsoft.Storage/storageAccounts", "vhd")["properties"]
    assert (vhds["publicNetworkAccess"], vhds["networkAcls"]["defaultAction"]) == ("Enabled", "Allow")
    endpoints = resources("everything", "Microsoft.Network/privateEndpoints")
    links = [endpoint["properties"]["privateLinkServiceConnections"][0]["properties"] for endpoint in endpoints]
    assert {link["privateLinkServiceId"].rpartition("/")[2] for link in links} == {"sttx7kzk3y5622iapp"}
    assert sorted(link["groupIds"][0] for link in links) == ["blob", "queue", "table"]
    network = one("everything", "Microsoft.Network/virtualNetworks")["properties"]["subnets"]
    assert [subnet["properties"]["defaultOutboundAccess"] for subnet in network] == [False, False]


@every_snapshot
def test_nothing_that_signs_in_takes_a_password_beside(name: str) -> None:
    workspace = one(name, "Microsoft.OperationalInsights/workspaces")["properties"]
    assert workspace["features"]["disableLocalAuth"] is True
    assert one(name, "Microsoft.Insights/components")["properties"]["DisableLocalAuth"] is True
    policies = resources(name, "Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert [policy["properties"]["allow"] for policy in policies] == [False, False]
    assert one(name, "Microsoft.Web/sites")["properties"]["httpsOnly"] is True
    for topic in resources(name, "Microsoft.EventGrid/topics"):
        assert topic["properties"]["disableLocalAuth"] is True


def test_no_key_is_asked_for_given_or_shown() -> None:
    for name in KEPT:
        text = (FOLDER / f"{name}.snapshot.json").read_text("utf-8")
        assert not re.search(r"\blist(Keys|AccountSas|ServiceSas|Secrets)\(", text, re.IGNORECASE)
        assert not re.search(r"AccountKey|SharedAccessKey|InstrumentationKey|[?&]sig=", text)
    for path in INFRA.rglob("*.bicep"):
        assert "@secure" not in path.read_text("utf-8"), path.name


def test_flex_consumption_is_told_nothing_of_other_plans() -> None:
    """It refuses settings it does not know, in some regions (error 51021). Its own quickstart sets this one."""
    site = one("everything", "Microsoft.Web/sites")["properties"]
    assert site["siteConfig"] == {"minTlsVersion": "1.2"}
    assert set(one("defaults", "Microsoft.Web/sites")["properties"]["functionAppConfig"]) == {
        "deployment",
        "runtime",
        "scaleAndConcurrency",
    }
    assert site["functionAppConfig"]["siteUpdateStrategy"] == {"type": "RollingUpdate"}


def test_sign_in_is_said_either_way_so_that_it_can_be_turned_off() -> None:
    off = one("defaults", "Microsoft.Web/sites/config", "authsettingsV2")["properties"]
    assert off["platform"] == {"enabled": False}
    assert off["globalValidation"]["requireAuthentication"] is False
    assert "API_CLIENT_ID" not in settings("defaults")
    on = one("everything", "Microsoft.Web/sites/config", "authsettingsV2")["properties"]
    assert on["globalValidation"]["unauthenticatedClientAction"] == "Return401"
    assert on["globalValidation"]["excludedPaths"] == ["/runtime/webhooks/blobs"], "Event Grid has a key and no token"
    directory = on["identityProviders"]["azureActiveDirectory"]
    assert directory["validation"]["defaultAuthorizationPolicy"]["allowedApplications"]
    said = settings("everything")
    assert said["API_CLIENT_ID"] == directory["registration"]["clientId"]
    assert said["API_AUTHORITY"] == "[environment().authentication.loginEndpoint]"
    issuer = f"[format('{{0}}{said['API_TENANT_ID']}/v2.0', environment().authentication.loginEndpoint)]"
    assert directory["registration"]["openIdIssuer"] in (
        issuer,
        f"[format('{{0}}{{1}}/v2.0', environment().authentication.loginEndpoint, '{said['API_TENANT_ID']}')]",
    ), "the door and the app believe the same tenant"


def test_the_door_is_shut_before_any_setting_relies_on_it() -> None:
    """With API_CLIENT_ID the app asks for no key: it may not be set before, or without, the door."""
    app = (INFRA / "modules/function-app.bicep").read_text("utf-8")
    blocks = dict(re.findall(r"^resource (\w+) '[^']+' = \{\n(.*?)^\}", app, re.MULTILINE | re.DOTALL))
    assert "  dependsOn: [\n    signIn\n  ]\n" in blocks["settings"]
    assert "dependsOn" not in blocks["signIn"], "it waits for the app alone"
    assert [name for name, body in blocks.items() if "settings\n  ]" in body] == ["noFtpPassword"]


def test_the_http_api_can_be_left_out_and_takes_the_publishers_key_alone_where_nobody_says_otherwise() -> None:
    assert settings("defaults")["HTTP_API"] == "on"
    assert settings("defaults")["API_KEY_ROLES"] == "publisher"
    app = (INFRA / "modules/function-app.bicep").read_text("utf-8")
    assert "HTTP_API: httpApi ? 'on' : 'off'" in app
    assert "API_KEY_ROLES: join(apiKeyRoles, ',')" in app
    kinds = re.search(r"^param apiKeyRoles \((.*)\)\[\]", MAIN, re.MULTILINE)
    assert kinds
    assert re.findall(r"'(\w+)'", kinds[1]) == [role.value for role in Role]


def test_uploading_asking_and_judging_are_rights_of_their_own_and_nobodys_by_default() -> None:
    given = {
        "Uploads VHDs": ("containers", {"vhds", "builds"}, "Storage Blob Data Contributor", 1),
        "Asks for versions": ("queues", {"publish-requests"}, "Storage Queue Data Message Sender", 21),
        "Gives verdicts": ("queues", {"verdicts"}, "Storage Queue Data Message Sender", 22),
    }
    people = [
        one["properties"] | {"scope": scope}
        for one, (scope, why) in zip(
            resources("everything", "Microsoft.Authorization/roleAssignments"), assignments("everything"), strict=True
        )
        if why in given
    ]
    for why, (kind, names, role, number) in given.items():
        found = [one for one in people if one["description"] == why]
        assert {one["scope"].rpartition(f"/{kind}/")[2] for one in found} == names
        assert {BUILT_IN[one["roleDefinitionId"].rpartition("/")[2]] for one in found} == {role}
        assert {one["principalId"][-2:] for one in found} == {f"{number:02}" if number > 1 else "11"}
    others = [why for _, why in assignments("defaults") if why in given]
    assert others == []
    made = resources("defaults", "Microsoft.Authorization/roleAssignments")
    assert all(one["properties"]["principalType"] == "ServicePrincipal" for one in made), "nobody of yours"


def test_who_writes_or_deletes_is_logged_of_blobs_messages_and_rows_and_who_reads_where_asked() -> None:
    for name, reads in (("defaults", False), ("everything", True)):
        services = set()
        for setting in resources(name, "Microsoft.Insights/diagnosticSettings"):
            service = re.search(r"vhd/(\w+)Services/default/providers", setting["id"])
            if not service:
                continue
            services.add(service[1])
            logged = {one["category"]: one["enabled"] for one in setting["properties"]["logs"]}
            assert logged == {"StorageWrite": True, "StorageDelete": True, "StorageRead": reads}
        assert services == {"blob", "queue", "table"}


def test_with_zones_no_fewer_than_two_instances_are_kept_warm() -> None:
    assert one("everything", "Microsoft.Web/serverfarms")["properties"]["zoneRedundant"] is True
    warm = one("everything", "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    assert {group["name"]: group["instanceCount"] for group in warm["alwaysReady"]} == {
        "function:take_step": 2,
        "blob": 2,
    }


def test_one_role_has_one_scope_and_is_made_in_its_subscription() -> None:
    """Azure takes no scope out of a role that is assigned there; so a gallery can be changed for another."""
    for name in KEPT:
        for role in resources(name, "Microsoft.Authorization/roleDefinitions"):
            (scope,) = role["properties"]["assignableScopes"]
            assert role["id"].split("/")[2] == scope.split("/")[2], role["properties"]["roleName"]
    names = [
        role["properties"]["roleName"] for role in resources("everything", "Microsoft.Authorization/roleDefinitions")
    ]
    assert len(set(names)) == len(names), "a name is one role's in the whole tenant"


def test_an_assignment_is_named_after_whom_it_is_for() -> None:
    """Azure lets no assignment be changed to another principal: one made anew has to get an assignment of its own."""
    for resource in resources("everything", "Microsoft.Authorization/roleAssignments"):
        principal = resource["properties"]["principalId"].strip("[]")
        assert principal in resource["name"] or principal.startswith("11111111-1111-4111-8111-"), resource["id"]
    text = (INFRA / "modules/vhd-storage.bicep").read_text("utf-8")
    assert text.count("uploaderPrincipalId, blobDataContributor)") == 1
    assert text.count("sender.principalId, queueDataMessageSender)") == 1


def test_event_grid_is_told_where_to_deliver_after_its_rights_had_time_to_spread() -> None:
    uploads = MAIN.split("module uploads ")[1].split("\n}\n")[0]
    assert "functionApp" in uploads.split("dependsOn")[1]
    assert "uploadAccess" in uploads.split("dependsOn")[1]
    app = MAIN.split("module functionApp ")[1].split("\n}\n")[0]
    assert "uploads" not in app


def test_managed_images_are_made_in_the_subscription_of_the_vhds() -> None:
    group = settings("everything")["MANAGED_IMAGE_GROUP_ID"]
    account = one("everything", "Microsoft.Storage/storageAccounts", "vhd")["id"]
    assert group.split("/")[2] == account.split("/")[2]
    assert group in {one["id"] for one in resources("everything", "Microsoft.Resources/resourceGroups")}
    assert group in {scope for scope, _ in assignments("everything")}, "the pipeline may make managed images there"


def test_built_in_roles_are_those_they_are_said_to_be() -> None:
    named = set()
    for path in [INFRA / "main.bicep", *(INFRA / "modules").glob("*.bicep")]:
        for identifier in re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", path.read_text("utf-8")):
            named.add(identifier)
            assert identifier in BUILT_IN, f"{path.name}: {identifier}"
    assert named == set(BUILT_IN)
    security = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert [role for role in BUILT_IN.values() if role not in security] == []


def test_each_check_that_is_passed_over_says_why() -> None:
    for file in ("checkov.yaml", "bicepconfig.json"):
        text = (INFRA / file).read_text("utf-8")
        assert text.count("#") + text.count("//") > 2
    lines = (INFRA / "checkov.yaml").read_text("utf-8").split("skip-check:\n")[1].splitlines()
    for line in lines:
        assert re.fullmatch(r"  - CKV_AZURE_\d+ +# \S.{15,}", line), line


def test_main_describes_each_parameter_and_azd_may_set_it() -> None:
    assert "targetScope = 'subscription'" in MAIN
    for name in PARAMETERS:
        assert re.search(rf"@description\('.+'\)\nparam {name} ", MAIN), name
    own = {"environmentName", "location"}
    assert own <= set(GIVEN) <= set(PARAMETERS)
    for name, entry in GIVEN.items():
        value = entry["value"]
        if isinstance(value, str) and name not in own:
            found = re.fullmatch(r"\$\{([A-Z_]+)=(.*)\}", value)
            assert found, f"{name}: {value}"
            value = found[2]
        default = re.search(rf"^param {name} .*?= (.+)$", MAIN, re.MULTILINE)
        assert name in own or default, name
        if name not in own and not isinstance(value, list | dict):
            assert str(value).strip("'") == default[1].strip("'"), f"{name}: the file says {value}, Bicep {default[1]}"  # type: ignore[index]


def test_the_docs_tell_of_each_parameter() -> None:
    """By its own name, and by the variable that azd sets it by."""
    told = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for name in set(PARAMETERS) - {"environmentName", "location"}:
        assert f"`{name}`" in told, f"docs/deploy.md does not tell of {name}"
        value = GIVEN.get(name, {}).get("value", "")
        if isinstance(value, str) and value:
            variable = value[2:].partition("=")[0]
            assert variable in told, f"docs/deploy.md does not tell of {variable}"
    for name in re.findall(r"^azd env set (\w+)", told, re.MULTILINE):
        assert re.search(rf"\$\{{{name}[=}}]", json.dumps(GIVEN)), (
            f"docs/deploy.md sets {name}, which no parameter reads"
        )


def test_every_option_has_parameters_of_its_own_and_everything_has_those_that_go_together() -> None:
    said = {
        path.stem: set(re.findall(r"^param (\w+)", path.read_text("utf-8"), re.MULTILINE))
        for path in FOLDER.glob("*.bicepparam")
    }
    assert set().union(*said.values()) == set(PARAMETERS), "an option that is never evaluated"
    assert said["defaults"] == {"environmentName", "location"}


def test_azd_deploys_this_app() -> None:
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    service = azd["services"]["api"]
    assert (service["host"], service["language"]) == ("function", "python")
    assert (ROOT / service["project"] / "host.json").exists()
    assert (ROOT / azd["infra"]["path"] / f"{azd['infra']['module']}.bicep").exists()
    assert one("defaults", "Microsoft.Web/sites")["tags"]["azd-service-name"] == "api"
    steps = [step["azd"] for step in azd["workflows"]["up"]["steps"]]
    assert steps == ["provision", "deploy --all"], "the hook asks for what provision made"


def test_hooks_are_there() -> None:
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    for shell in azd["services"]["api"]["hooks"]["prepackage"].values():
        for script in re.findall(r"[\w/.-]+\.(?:sh|ps1|py)", shell["run"]):
            assert Path(ROOT / script).exists(), script


def test_what_only_an_option_makes_is_known_to_the_script_that_takes_it_away() -> None:
    script = (INFRA / "remove-unused.sh").read_text("utf-8")
    ending = "tx7kzk3y5622i"
    suffix = "[format('privatelink.{0}.{1}', '%s', environment().suffixes.storage)]"
    known = set()
    for option, kind, name in re.findall(r"^(\w+) (Microsoft\.[\w./]+) (\S+)$", script, re.MULTILINE):
        assert option == "closedVhdAccount" or f"['{option}']" in MAIN, f"main.bicep never says {option}"
        known.add((kind, name.replace("${NAMES_END_WITH}", ending).replace("$NAMES_END_WITH", ending)))
    plain = {one["id"] for one in resources("defaults")}
    for resource in resources("everything"):
        kind, name = resource["type"], resource["name"]
        if (
            resource["id"] in plain
            or kind.startswith("Microsoft.Authorization/")
            or kind.endswith("privateDnsZoneGroups")
        ):
            continue  # roles and assignments are found by what they are called
        for service in ("blob", "queue", "table"):
            name = name.replace(suffix % service, f"privatelink.{service}.$suffix")
            if f"'{service}'" in name:
                name = f"privatelink.{service}.$suffix" + (f"/vnet-{ending}" if kind.endswith("Links") else "")
        assert (kind, name) in known, f"remove-unused.sh does not know {kind} {name}"
    said = "".join((INFRA / f"modules/{name}-storage.bicep").read_text("utf-8") for name in ("app", "vhd"))
    words = re.findall(r"'([^'\n]+)'", script.split("\nin_use() {")[1].split("\n}\n")[0])
    described = {word for word in words if " " in word}
    assert len(described) == 5
    for word in described:
        assert re.search(rf"(?:description|why): '{word}'", said), word


def test_the_names_of_what_is_in_use_are_outputs() -> None:
    script = (INFRA / "remove-unused.sh").read_text("utf-8")
    outputs = set(re.findall(r"^output (\w+)", MAIN, re.MULTILINE))
    (wanted,) = re.findall(r"^for name in ((?:[A-Z_]+ *(?:\\\n *)?)+); do", script, re.MULTILINE)
    assert set(wanted.replace("\\", "").split()) <= outputs

"""The scripts that give and take rights, against an `az` that notes what it is asked: infra/*.sh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.access import Role
from pipeline.web.callers import whose
from tests.infra.snapshots import INFRA, snapshot
from tests.infra.test_deployment import BUILT_IN

COMMAND = """#!{python} -IS
import json, os, pathlib, re, sys
here, name = pathlib.Path(__file__).parent, pathlib.Path(__file__).name
asked = {{"command": name, "arguments": sys.argv[1:]}}
for argument in sys.argv[1:]:
    if argument.startswith("@"):
        file = pathlib.Path(argument[1:])
        asked |= {{"file": str(file), "mode": oct(file.stat().st_mode & 0o777), "content": file.read_text()}}
log = here / "asked.jsonl"
before = log.read_text() if log.exists() else ""
log.write_text(before + json.dumps(asked) + "\\n")
said = " ".join([name, *sys.argv[1:]])
for answer in json.loads((here / "answers.json").read_text()):
    if re.search(answer["to"], said) and before.count(json.dumps(asked)) >= answer["after"]:
        print(answer["says"], end="")
        sys.exit(answer["status"])
"""
"""A command that does what `answers.json` beside it says: the first answer whose pattern its words match, else nothing."""

CLIENT = "22222222-2222-4222-8222-222222222222"
OBJECT = "33333333-3333-4333-8333-333333333333"
SERVICE = "44444444-4444-4444-8444-444444444444"
SOMEBODY = "55555555-5555-4555-8555-555555555555"
OUTPUTS = snapshot("everything")["outputs"] | {
    "PIPELINE_PRINCIPAL_ID": "66666666-6666-4666-8666-666666666661",
    "TOPIC_PRINCIPAL_ID": "66666666-6666-4666-8666-666666666662",
}
"""What a deployment of everything says of itself, with what only Azure knows of it."""


class Machine:
    """A machine on which `az`, `azd` and `sleep` are not what they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("az", "azd", "sleep"):
            (folder / name).write_text(COMMAND.format(python=sys.executable), encoding="utf-8")
            (folder / name).chmod(0o755)
        self._answers: list[dict[str, Any]] = []
        self.say("az cloud show --query endpoints", "https://graph.microsoft.com/\n")

    def say(self, to: str, says: str = "", status: int = 0, after: int = 0) -> None:
        """Have what matches `to` answered, from the time on that it was asked `after` times."""
        self._answers.insert(0, {"to": to, "says": says, "status": status, "after": after})
        (self.folder / "answers.json").write_text(json.dumps(self._answers), encoding="utf-8")

    def environment(self, **values: Any) -> None:
        """Have azd know these, printed as it prints them."""
        lines = (
            f"{name}={json.dumps(value if isinstance(value, str) else json.dumps(value))}\n"
            for name, value in values.items()
        )
        self.say("^azd env get-values", "".join(lines))

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [INFRA / script, *arguments],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def asked(self, words: str = "") -> list[dict[str, Any]]:
        """What has been asked, of what begins with `words`, oldest first."""
        log = self.folder / "asked.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if " ".join([one["command"], *one["arguments"]]).startswith(words)]

    def bodies(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """What was sent by `az rest` with a method: the end of each address, and the body."""
        found = []
        for one in self.asked(f"az rest --method {method}"):
            given = dict(zip(one["arguments"][1::2], one["arguments"][2::2], strict=False))
            found.append((given["--url"].partition("/v1.0/")[2], json.loads(given.get("--body", "{}"))))
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def entra(machine: Machine) -> Machine:
    """A machine before whose tenant nothing of Gallerist's is in it."""
    machine.environment(AZURE_ENV_NAME="prod")
    machine.say("^az ad app create", f"{CLIENT}\n")
    machine.say(f"^az ad app show --id {CLIENT} --query id", f"{OBJECT}\n")
    machine.say(f"^az ad sp create --id {CLIENT}", f"{SERVICE}\n")
    return machine


def signed_in(machine: Machine) -> None:
    """Have the application be there, as the script has left it."""
    machine.environment(AZURE_ENV_NAME="prod", API_CLIENT_ID=CLIENT)
    machine.say("^az ad sp list --filter", f"{SERVICE}\n")


def test_the_application_has_the_roles_of_the_code_and_gives_no_token_to_whoever_has_none(entra: Machine) -> None:
    done = entra.run("sign-in.sh")
    assert done.returncode == 0, done.stderr
    (first, second, third) = entra.bodies("PATCH")
    assert {first[0], second[0]} == {f"applications/{OBJECT}"}
    body = first[1]
    assert body["signInAudience"] == "AzureADMyOrg"
    assert body["identifierUris"] == [f"api://{CLIENT}"]
    assert body["api"]["requestedAccessTokenVersion"] == 2
    assert [role["value"] for role in body["appRoles"]] == [role.value.capitalize() for role in Role]
    assert len({role["id"] for role in body["appRoles"]}) == len(Role)
    for role in body["appRoles"]:
        assert role["isEnabled"]
        assert role["allowedMemberTypes"] == ["User", "Application"]
    # The Azure CLI gets tokens for people without their consent, once Entra knows the scope.
    (scope,) = body["api"]["oauth2PermissionScopes"]
    assert body["api"]["preAuthorizedApplications"] == []
    (known,) = second[1]["api"]["preAuthorizedApplications"]
    assert known["delegatedPermissionIds"] == [scope["id"]]
    assert third == (f"servicePrincipals/{SERVICE}", {"appRoleAssignmentRequired": True})
    assert [one["arguments"][-1] for one in entra.asked("azd env set API_CLIENT_ID")] == [CLIENT]


def test_making_it_again_changes_nothing(entra: Machine) -> None:
    assert entra.run("sign-in.sh").returncode == 0
    first = entra.bodies("PATCH")
    signed_in(entra)
    assert entra.run("sign-in.sh").returncode == 0
    assert entra.bodies("PATCH") == first * 2
    assert len(entra.asked("az ad app create")) == len(entra.asked("az ad sp create")) == 1


def test_what_entra_has_not_heard_of_yet_is_asked_again(entra: Machine) -> None:
    entra.say(f"^az ad app show --id {CLIENT} --query id", "", status=1)
    entra.say(f"^az ad app show --id {CLIENT} --query id", f"{OBJECT}\n", after=2)
    assert entra.run("sign-in.sh").returncode == 0
    assert len(entra.asked("sleep")) == 2


def test_an_application_of_that_name_is_not_adopted(entra: Machine) -> None:
    """Anybody of the tenant may have made it, and would give its roles as its owner."""
    entra.say("^az ad app list --display-name gallerist-api", f"{SOMEBODY}\n")
    done = entra.run("sign-in.sh")
    assert done.returncode == 2
    assert SOMEBODY in done.stderr
    assert "API_CLIENT_ID" in done.stderr
    assert entra.asked("az ad app create") == entra.asked("az rest") == entra.asked("azd env set") == []


def test_an_application_with_roles_of_others_is_left_as_it_is(entra: Machine) -> None:
    signed_in(entra)
    entra.say("^az ad app show .* --query appRoles", f"{SOMEBODY}\n")
    done = entra.run("sign-in.sh")
    assert done.returncode == 2
    assert SOMEBODY in done.stderr
    assert entra.bodies("PATCH") == []


def test_a_role_is_given_once_and_taken_away(entra: Machine) -> None:
    signed_in(entra)
    assert entra.run("sign-in.sh").returncode == 0
    tester = next(role["id"] for role in entra.bodies("PATCH")[0][1]["appRoles"] if role["value"] == "Tester")
    entra.say("^az rest --method POST", "Group image-testers\n")
    done = entra.run("sign-in.sh", "assign", "tester", SOMEBODY.upper())
    assert "given to Group image-testers" in done.stdout, done.stderr
    wanted = {"principalId": SOMEBODY, "resourceId": SERVICE, "appRoleId": tester}
    assert entra.bodies("POST") == [(f"servicePrincipals/{SERVICE}/appRoleAssignedTo", wanted)]

    entra.say(rf"principalId=='{SOMEBODY}' && appRoleId=='{tester}'", "assignment-1\n")
    assert "has it already" in entra.run("sign-in.sh", "assign", "Tester", SOMEBODY).stdout
    assert len(entra.bodies("POST")) == 1
    assert entra.run("sign-in.sh", "unassign", "Tester", SOMEBODY).returncode == 0
    assert entra.bodies("DELETE") == [(f"servicePrincipals/{SERVICE}/appRoleAssignedTo/assignment-1", {})]
    assert "does not have it" in entra.run("sign-in.sh", "unassign", "Operator", SOMEBODY).stdout
    assert len(entra.bodies("DELETE")) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["assign", "Admin", SOMEBODY], "there is no role Admin: it takes Reader, Publisher"),
        (["assign", "Operator", "me@example.com"], "me@example.com is not an object id"),
        (["assign", "Operator"], "takes ROLE and OBJECT-ID"),
        (["assign", "Operator", SOMEBODY], "API_CLIENT_ID is not set"),
        (["nonsense"], "there is no command nonsense"),
        (["--name", "x' or 1=1"], "takes no quotes"),
    ],
)
def test_what_cannot_be_right_asks_entra_for_nothing(entra: Machine, arguments: list[str], says: str) -> None:
    done = entra.run("sign-in.sh", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert entra.asked("az rest") == entra.asked("az ad") == []


def deployed(machine: Machine, **values: Any) -> Machine:
    machine.environment(**{"AZURE_SUBSCRIPTION_ID": "sub", **OUTPUTS, "API_KEY_ROLES": "publisher,tester", **values})
    return machine


def test_a_key_begins_with_its_role_and_is_seen_by_nobody_else(machine: Machine) -> None:
    deployed(machine)
    done = machine.run("role-key.sh", "tester")
    assert done.returncode == 0, done.stderr
    (key,) = done.stdout.splitlines()
    assert re.fullmatch(r"tester\.[0-9a-f]{64}", key)
    assert whose(key) is Role.TESTER
    (put,) = machine.asked("az rest --method PUT")
    assert f"/sites/{OUTPUTS['FUNCTION_APP']}/host/default/functionKeys/tester?" in " ".join(put["arguments"])
    assert json.loads(put["content"]) == {"properties": {"name": "tester", "value": key}}
    assert put["mode"] == "0o600"
    assert not Path(put["file"]).exists()
    assert not [one for one in machine.asked() if key in " ".join(one["arguments"])], "everyone sees arguments"
    assert key not in done.stderr
    assert machine.run("role-key.sh", "tester").stdout != done.stdout


def test_a_key_that_azure_refuses_is_neither_shown_nor_left_behind(machine: Machine) -> None:
    deployed(machine).say("^az rest --method PUT", status=1)
    done = machine.run("role-key.sh", "tester")
    assert (done.returncode, done.stdout) == (1, "")
    assert not Path(machine.asked("az rest")[0]["file"]).exists()


@pytest.mark.parametrize(
    ("role", "values", "says"),
    [
        ("operator", {}, "name it in apiKeyRoles of infra/main.parameters.json"),
        ("test", {"API_KEY_ROLES": "tester"}, "there is no role test"),
        ("tester", {"API_KEY_ROLES": ""}, "name it in apiKeyRoles"),
        ("tester", {"API_CLIENT_ID": CLIENT}, "infra/sign-in.sh assign"),
        ("tester", {"HTTP_API": "false"}, "httpApi"),
        ("tester", {"FUNCTION_APP": ""}, "azd provision"),
    ],
)
def test_no_key_is_made_that_opens_nothing(machine: Machine, role: str, values: dict[str, str], says: str) -> None:
    done = deployed(machine, **values).run("role-key.sh", role)
    assert done.returncode == 2
    assert says in done.stderr
    assert machine.asked("az rest") == []


def test_a_key_can_be_taken_away_when_its_role_is_not_named_any_more(machine: Machine) -> None:
    done = deployed(machine, API_KEY_ROLES="publisher").run("role-key.sh", "--remove", "operator")
    assert done.returncode == 0, done.stderr
    (gone,) = machine.asked("az rest")
    assert gone["arguments"][:3] == ["rest", "--method", "DELETE"]
    assert "/functionKeys/operator?" in gone["arguments"][4]


def test_who_deploys_may_hand_out_the_deployments_roles_to_its_principals_and_no_other(machine: Machine) -> None:
    done = deployed(machine).run("deployer.sh", "--dry-run", SOMEBODY)
    assert done.returncode == 0, done.stderr
    assert machine.asked("az ") == []
    sides = re.findall(
        r"\(\(!\(ActionMatches\{'Microsoft.Authorization/roleAssignments/(\w+)'\}\)\) OR "
        r"\(@(\w+)\[Microsoft.Authorization/roleAssignments:RoleDefinitionId\] ForAnyOfAnyValues:GuidEquals \{(.*?)\} AND "
        r"@\w+\[Microsoft.Authorization/roleAssignments:PrincipalId\] ForAnyOfAnyValues:GuidEquals \{(.*?)\}\)\)",
        done.stdout,
    )
    assert [side[:2] for side in sides] == [("write", "Request"), ("delete", "Resource")]
    principals = {
        OUTPUTS[f"{name}"]
        for name in (
            "PIPELINE_PRINCIPAL_ID",
            "TOPIC_PRINCIPAL_ID",
            "UPLOADER_IN_USE",
            "PUBLISHER_IN_USE",
            "TESTER_IN_USE",
        )
    }
    for _, _, roles, to in sides:
        assert set(roles.split(", ")) == set(BUILT_IN) | set(OUTPUTS["ROLES_IN_USE"])
        assert set(to.split(", ")) == principals
    assert len(done.stdout) < 8192, "Azure takes no longer condition"


def test_who_deploys_gets_no_right_to_hand_out_roles_without_a_condition(machine: Machine) -> None:
    deployed(machine).say("^az role assignment list", "/subscriptions/x/earlier\n")
    done = machine.run("deployer.sh", "--subscription", SOMEBODY, OBJECT)
    assert done.returncode == 0, done.stderr
    given = machine.asked("az role assignment create")
    scopes = {one["arguments"][one["arguments"].index("--scope") + 1] for one in given}
    own = "/subscriptions/00000000-0000-4000-8000-00000000000"
    assert scopes == {f"{own}1", f"{own}2", f"/subscriptions/{SOMEBODY}"}
    assert len(given) == 2 * len(scopes)
    for one in given:
        role = one["arguments"][one["arguments"].index("--role") + 1]
        assert ("--condition" in one["arguments"]) == (role != "Contributor")
    # What it had, perhaps without a condition, goes before.
    order = [one["arguments"][2] for one in machine.asked("az role assignment")]
    assert order == ["list", "delete", "create", "create"] * len(scopes)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "takes an OBJECT-ID"),
        (["gallerist-deployer"], "is not an object id"),
        ([OUTPUTS["PIPELINE_PRINCIPAL_ID"]], "one of the deployment's own principals"),
        ([OBJECT, SOMEBODY], "takes one OBJECT-ID"),
        (["--subscription", "x", OBJECT], "--subscription takes an id"),
    ],
)
def test_a_deployer_that_cannot_be_right_gets_nothing(machine: Machine, arguments: list[str], says: str) -> None:
    done = deployed(machine).run("deployer.sh", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert machine.asked("az role") == []


def test_a_right_goes_with_the_option_the_person_or_the_container_that_it_was_for(machine: Machine) -> None:
    group = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-prod"
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/{OUTPUTS['STORAGE_ACCOUNT']}"
    containers, queues = f"{account}/blobServices/default/containers", f"{account}/queueServices/default/queues"
    uploader, publisher, tester, pipeline = (
        OUTPUTS[name] for name in ("UPLOADER_IN_USE", "PUBLISHER_IN_USE", "TESTER_IN_USE", "PIPELINE_PRINCIPAL_ID")
    )
    held = [
        # name, what it is for, who has it, on what, whether it stays
        ("a", "Uploads VHDs", uploader, f"{containers}/vhds", True),
        ("b", "Uploads VHDs", uploader, f"{containers}/old", False),
        ("c", "Uploads VHDs", SOMEBODY, f"{containers}/vhds", False),
        ("d", "Asks for versions", publisher, f"{queues}/publish-requests", True),
        ("e", "Asks for versions", uploader, f"{queues}/publish-requests", False),
        ("f", "Gives verdicts", tester, f"{queues}/verdicts", True),
        ("g", "Gives verdicts", publisher, f"{queues}/verdicts", False),
        ("h", "What the blob trigger asks for", pipeline, account, True),
        ("i", "What the blob trigger asks for", SOMEBODY, account, False),
        ("j", "Runs, ledger, sources, holds, audit and judgements", pipeline, account, True),
        ("k", "None", SOMEBODY, f"{containers}/vhds", True),
    ]
    rows = "".join(f"{name}/roleAssignments/x\t{why}\t{who}\tRole\t{on}\n" for name, why, who, on, _ in held)
    deployed(machine)
    machine.say("^az role assignment list .*starts_with", rows)
    machine.say("^az resource show", status=1)
    done = machine.run("remove-unused.sh", "--yes")
    assert done.returncode == 0, done.stderr
    gone = [one["arguments"][-1].partition("/")[0] for one in machine.asked("az role assignment delete")]
    assert gone == [name for name, *_, stays in held if not stays]

#!/usr/bin/env bash
# Makes the key of a role for the HTTP API, and prints it, once. Where callers sign in there is none: infra/sign-in.sh.
# docs/deploy.md, "Keys at the HTTP API".
set -euo pipefail

usage() {
  cat <<EOF
usage: infra/role-key.sh ROLE
       infra/role-key.sh --remove ROLE

Prints a new key of ROLE (reader, publisher, tester, approver, operator) to standard output; the one it had before opens
nothing any more. The app takes it where apiKeyRoles names the role.

  --remove  takes the role's key away instead

It reads azd env get-values, and takes az, signed in (az login) as one who may deploy.
EOF
}

fault() {
  echo "role-key.sh: $1" >&2
  exit 2
}

remove=''
case "${1:-}" in
  --help | -h) usage && exit 0 ;;
  --remove) remove=1 && shift ;;
esac
[ $# = 1 ] || fault "it takes one ROLE: see --help"
role="$1"
case "$role" in
  reader | publisher | tester | approver | operator) ;;
  *) fault "there is no role $role: it takes reader, publisher, tester, approver or operator" ;;
esac

command -v azd >/dev/null || fault "missing: azd (https://aka.ms/azd)"
command -v az >/dev/null || fault "missing: az (https://aka.ms/azcli)"
values="$(azd env get-values)" || fault "azd env get-values failed: run this where azure.yaml is, and azd provision first"
value_of() {
  sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" <<<"$values"
}
for name in AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP FUNCTION_APP; do
  [ -n "$(value_of "$name")" ] || fault "azd knows no $name: run azd provision first, of this release"
done
app="/subscriptions/$(value_of AZURE_SUBSCRIPTION_ID)/resourceGroups/$(value_of AZURE_RESOURCE_GROUP)/providers/Microsoft.Web/sites/$(value_of FUNCTION_APP)"
url="$app/host/default/functionKeys/$role?api-version=2024-04-01"

if [ -n "$remove" ]; then
  az rest --method DELETE --url "$url" -o none
  echo "gone: the key of the $role" >&2
  exit
fi

[ "$(value_of HTTP_API)" != false ] || fault "the HTTP API is off: azd env set HTTP_API true (httpApi), then azd provision"
[ -z "$(value_of API_CLIENT_ID)" ] || fault "callers sign in (API_CLIENT_ID is set), and no key opens anything: infra/sign-in.sh assign gives a role"
case ",$(value_of API_KEY_ROLES)," in
  *",$role,"*) ;;
  *) fault "the app takes no key of the role $role: name it in apiKeyRoles of infra/main.parameters.json, then azd provision" ;;
esac

# By way of a file that only this user reads: what a command is given, everyone on the machine can see.
umask 077
body="$(mktemp)"
trap 'rm -f "$body"' EXIT
# The app knows the role by what the key begins with.
key="$role.$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')"
printf '{"properties": {"name": "%s", "value": "%s"}}' "$role" "$key" >"$body"
az rest --method PUT --url "$url" --body "@$body" -o none
printf '%s\n' "$key"

#!/usr/bin/env bash
# Gives who deploys from CI the rights to do so, and no right to hand out others: it may assign the deployment's own
# roles to the deployment's own principals. docs/deploy.md, "From GitHub".
set -euo pipefail

# The built-in roles that the template assigns.
built_in="b7e6dc6d-f1e8-4753-8033-0f276bb0955b ba92f5b4-2d11-453d-a403-e96b0029c9fe 974c5e8b-45b9-4653-ba55-5f855dd0fb88
c6a89b2d-59bc-44d0-9896-0f6e12d7b80a 0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3 3913510d-42f4-4e42-8a64-420c390055eb
d5a91429-5739-47e2-a06b-3470a27159e7"
access_role='User Access Administrator'

usage() {
  cat <<EOF
usage: infra/deployer.sh [--dry-run] [--subscription ID ...] OBJECT-ID

Assigns to the service principal OBJECT-ID, in the subscriptions of app and galleries, Contributor and $access_role.
The second bears a condition: it assigns and removes only roles of this deployment, to principals of this deployment. What
it had of that role before is replaced. Run azd provision as yourself first; both again after a release or an option that
brings a role or a principal of its own.

  --subscription ID  another one, where sources are
  --dry-run          print the condition and change nothing

It reads azd env get-values, and takes az, signed in (az login) as Owner or $access_role.
EOF
}

fault() {
  echo "deployer.sh: $1" >&2
  exit 2
}

is_guid() {
  [[ "$1" =~ ^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$ ]]
}

lower() {
  tr '[:upper:]' '[:lower:]'
}

dry='' more='' deployer=''
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage && exit 0 ;;
    --dry-run) dry=1 ;;
    --subscription)
      is_guid "${2:-}" || fault "--subscription takes an id"
      more="$more $2"
      shift
      ;;
    -*) fault "there is no option $1: see --help" ;;
    *)
      [ -z "$deployer" ] || fault "it takes one OBJECT-ID: see --help"
      is_guid "$1" || fault "$1 is not an object id, such as az identity show --query principalId prints"
      deployer="$(lower <<<"$1")"
      ;;
  esac
  shift
done
[ -n "$deployer" ] || fault "it takes an OBJECT-ID: see --help"

command -v azd >/dev/null || fault "missing: azd (https://aka.ms/azd)"
command -v az >/dev/null || fault "missing: az (https://aka.ms/azcli)"
values="$(azd env get-values)" || fault "azd env get-values failed: run this where azure.yaml is, and azd provision first"
value_of() {
  sed -n "s/^$1=//p" <<<"$values" | tr -d '"' | lower
}
for name in ROLES_IN_USE PIPELINE_PRINCIPAL_ID TOPIC_PRINCIPAL_ID MANAGED_IMAGE_GROUP_ID STAGING_GALLERY_ID PRODUCTION_GALLERY_ID; do
  [ -n "$(value_of "$name")" ] || fault "azd knows no $name: run azd provision first, of this release"
done
guids() { # on one line, each once
  grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | sort -u | paste -s -d , - | sed 's/,/, /g'
}
roles="$(guids <<<"$built_in $(value_of ROLES_IN_USE)")"
principals="$(for name in PIPELINE_PRINCIPAL_ID TOPIC_PRINCIPAL_ID UPLOADER_IN_USE PUBLISHER_IN_USE TESTER_IN_USE; do
  value_of "$name"
done | guids)"
case "$principals" in
  *"$deployer"*) fault "$deployer is one of the deployment's own principals: take another, which the condition does not let it give roles to" ;;
esac
rule() { # ACTION SOURCE
  printf "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/%s'})) OR (@%s[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {%s} AND @%s[Microsoft.Authorization/roleAssignments:PrincipalId] ForAnyOfAnyValues:GuidEquals {%s}))" \
    "$1" "$2" "$roles" "$2" "$principals"
}
condition="$(rule write Request) AND $(rule delete Resource)"
if [ -n "$dry" ]; then
  echo "$condition"
  exit
fi

az account show -o none 2>/dev/null || fault "az is not signed in: az login"
subscriptions="$(
  for name in MANAGED_IMAGE_GROUP_ID STAGING_GALLERY_ID PRODUCTION_GALLERY_ID; do value_of "$name" | cut -d/ -f3; done
  tr ' ' '\n' <<<"$more" | lower
)"
while read -r subscription; do
  [ -n "$subscription" ] || continue
  scope="/subscriptions/$subscription"
  held="$(az role assignment list --subscription "$subscription" --scope "$scope" \
    --query "[?principalId=='$deployer' && roleDefinitionName=='$access_role'].id" -o tsv)"
  while read -r assignment; do
    [ -z "$assignment" ] || az role assignment delete --ids "$assignment" </dev/null
  done <<<"$held"
  az role assignment create --assignee-object-id "$deployer" --assignee-principal-type ServicePrincipal \
    --role Contributor --scope "$scope" -o none </dev/null
  az role assignment create --assignee-object-id "$deployer" --assignee-principal-type ServicePrincipal \
    --role "$access_role" --scope "$scope" --condition "$condition" --condition-version 2.0 -o none </dev/null
  echo "$scope: Contributor, and $access_role with a condition"
done < <(sort -u <<<"$subscriptions")

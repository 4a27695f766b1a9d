#!/usr/bin/env bash
# Makes the application in Entra that callers of the HTTP API sign in at, with an app role for each role of Gallerist's,
# and gives these roles to people, groups and applications. docs/deploy.md, "Sign-in at the HTTP API".
set -euo pipefail

# The roles: value in the token | id, the same in every tenant | what it may.
roles() {
  cat <<'EOF'
Reader|6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a01|Sees images, versions, runs and promotion rules.
Publisher|6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a02|Asks for versions, and retries and cancels its own runs.
Tester|6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a03|Gives verdicts.
Approver|6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a04|Approves versions.
Operator|6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a05|May what all the others may, and withdraws, rolls back, promotes and deletes.
EOF
}
scope_id=6a3d8a56-3c0e-4c6b-9a52-1f1a3f0f7a10
azure_cli=04b07795-8ddb-461a-bbee-02f9e1bf7b46 # Microsoft's own application, the same in every tenant

usage() {
  cat <<EOF
usage: infra/sign-in.sh [--name NAME]
       infra/sign-in.sh assign ROLE OBJECT-ID
       infra/sign-in.sh unassign ROLE OBJECT-ID
       infra/sign-in.sh list

Without a command: makes the application (default name: gallerist-api) or brings the one that API_CLIENT_ID names up to
date, and sets API_CLIENT_ID for azd. Running it again changes nothing. Only who is assigned a role gets a token.

  assign    gives ROLE (Reader, Publisher, Tester, Approver, Operator) to a person, a group or an application. OBJECT-ID of
            an application is that of its service principal: az ad sp show --id CLIENT-ID --query id
  unassign  takes it away; tokens that were issued before count until they expire, after 90 minutes at most
  list      who has which role

It reads azd env get-values, and takes az, signed in (az login) as one who may make applications; who assigns owns this one,
or is Cloud Application Administrator.
EOF
}

fault() {
  echo "sign-in.sh: $1" >&2
  exit 2
}

is_guid() {
  [[ "$1" =~ ^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$ ]]
}

one_line() {
  paste -s -d ' ' -
}

# Entra hears of what was just made after some seconds.
again() {
  local left=6
  until "$@" 2>"$work/said"; do
    left=$((left - 1))
    if [ "$left" = 0 ]; then
      cat "$work/said" >&2
      return 1
    fi
    sleep 5
  done
}

role_id() { # ROLE, in any case; prints VALUE|ID
  local found
  found="$(roles | awk -F '|' -v role="$1" 'tolower($1) == tolower(role) {print $1 "|" $2}')"
  [ -n "$found" ] || fault "there is no role $1: it takes Reader, Publisher, Tester, Approver or Operator"
  echo "$found"
}

app_roles() {
  roles | awk -F '|' '{
    printf "%s{\"id\": \"%s\", \"value\": \"%s\", \"displayName\": \"%s\", \"description\": \"%s\", \"isEnabled\": true, \"allowedMemberTypes\": [\"User\", \"Application\"]}", (NR > 1 ? ", " : ""), $2, $1, $1, $3
  }'
}

api() { # PREAUTHORIZED
  printf '"api": {"requestedAccessTokenVersion": 2, "preAuthorizedApplications": [%s], "oauth2PermissionScopes": [%s]}' "$1" \
    "{\"id\": \"$scope_id\", \"value\": \"user_impersonation\", \"type\": \"User\", \"isEnabled\": true, \"adminConsentDisplayName\": \"Call Gallerist\", \"adminConsentDescription\": \"Calls Gallerist as the person who signed in, with that person's roles.\"}"
}

service_principal() { # prints its object id; nothing where there is none
  az ad sp list --filter "appId eq '$client'" --query '[].id' -o tsv
}

graph_call() { # METHOD PATH [JSON]
  az rest --method "$1" --url "$graph/v1.0/$2" ${3+--body "$3"} -o none
}

make_application() {
  local object held others found
  if [ -z "$client" ]; then
    # A name is nobody's: an application of that name may be another's, who would be its owner and give its roles.
    found="$(az ad app list --display-name "$name" --query "[?displayName=='$name'].appId" -o tsv | one_line)"
    [ -z "$found" ] || fault "there is an application $name already: $found. If it is yours and Gallerist's, azd env set API_CLIENT_ID with that id; else give --name"
    client="$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg --requested-access-token-version 2 \
      --query appId -o tsv)"
    azd env set API_CLIENT_ID "$client"
    echo "made: application $name, $client"
  fi
  again az ad app show --id "$client" --query id -o tsv >"$work/object"
  object="$(cat "$work/object")"
  held="$(az ad app show --id "$client" --query 'appRoles[].id' -o tsv)"
  others="$(grep -vixF -f <(roles | cut -d '|' -f 2) <<<"$held" | grep . | one_line || true)"
  [ -z "$others" ] || fault "application $client has app roles that are not Gallerist's ($others): give Gallerist an application of its own"
  # Entra knows no scope that is defined in the request which names it: first the scope, then who needs no consent for it.
  again graph_call PATCH "applications/$object" \
    "{\"signInAudience\": \"AzureADMyOrg\", \"identifierUris\": [\"api://$client\"], \"appRoles\": [$(app_roles)], $(api '')}"
  again graph_call PATCH "applications/$object" "{$(api "{\"appId\": \"$azure_cli\", \"delegatedPermissionIds\": [\"$scope_id\"]}")}"
  principal="$(service_principal)"
  if [ -z "$principal" ]; then
    again az ad sp create --id "$client" --query id -o tsv >"$work/principal"
    principal="$(cat "$work/principal")"
    echo "made: its service principal, $principal"
  fi
  again graph_call PATCH "servicePrincipals/$principal" '{"appRoleAssignmentRequired": true}'
  cat <<EOF
Application $client has the roles $(roles | cut -d '|' -f 1 | one_line); who has none of them gets no token.
Next: infra/sign-in.sh assign Operator "\$(az ad signed-in-user show --query id -o tsv)"
      azd provision
      export GALLERIST_AUDIENCE=api://$client
EOF
}

assignment() { # OBJECT-ID ROLE-ID; prints the id of the assignment
  az rest --method GET --url "$graph/v1.0/servicePrincipals/$principal/appRoleAssignedTo?\$top=999" \
    --query "value[?principalId=='$1' && appRoleId=='$2'].id" -o tsv
}

assign() { # ROLE OBJECT-ID
  local value id who
  IFS='|' read -r value id <<<"$(role_id "$1")"
  if [ -n "$(assignment "$2" "$id")" ]; then
    echo "$value: $2 has it already"
    return
  fi
  who="$(az rest --method POST --url "$graph/v1.0/servicePrincipals/$principal/appRoleAssignedTo" \
    --body "{\"principalId\": \"$2\", \"resourceId\": \"$principal\", \"appRoleId\": \"$id\"}" \
    --query "join(' ', [principalType, principalDisplayName])" -o tsv)"
  echo "$value: given to $who ($2)"
}

unassign() { # ROLE OBJECT-ID
  local value id held
  IFS='|' read -r value id <<<"$(role_id "$1")"
  held="$(assignment "$2" "$id")"
  if [ -z "$held" ]; then
    echo "$value: $2 does not have it"
    return
  fi
  graph_call DELETE "servicePrincipals/$principal/appRoleAssignedTo/$held"
  echo "$value: taken from $2"
}

list() {
  local role type id who value
  az rest --method GET --url "$graph/v1.0/servicePrincipals/$principal/appRoleAssignedTo?\$top=999" \
    --query 'value[].[appRoleId, principalType, principalId, principalDisplayName]' -o tsv |
    while IFS=$'\t' read -r role type id who; do
      value="$(roles | awk -F '|' -v id="$role" 'tolower($2) == tolower(id) {print $1}')"
      printf '%-10s %-17s %s  %s\n' "${value:-none}" "$type" "$id" "$who"
    done
}

name=gallerist-api command='' role='' whom=''
case "${1:-}" in
  --help | -h) usage && exit 0 ;;
  '') ;;
  --name)
    [ $# = 2 ] && [ -n "$2" ] || fault "--name takes a name"
    name="$2"
    ;;
  assign | unassign)
    [ $# = 3 ] || fault "$1 takes ROLE and OBJECT-ID: see --help"
    command="$1" role="$2" whom="$(tr '[:upper:]' '[:lower:]' <<<"$3")"
    role_id "$role" >/dev/null
    is_guid "$whom" || fault "$3 is not an object id, such as az ad signed-in-user show --query id prints"
    ;;
  list) command=list ;;
  *) fault "there is no command $1: see --help" ;;
esac
case "$name" in *[\'\"\\]*) fault "--name takes no quotes and no backslashes" ;; esac

command -v azd >/dev/null || fault "missing: azd (https://aka.ms/azd)"
command -v az >/dev/null || fault "missing: az (https://aka.ms/azcli)"
values="$(azd env get-values)" || fault "azd env get-values failed: run this where azure.yaml is, and azd env new first"
client="$(sed -n 's/^API_CLIENT_ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' <<<"$values")"
[ -z "$client" ] || is_guid "$client" || fault "API_CLIENT_ID: $client is not the client id of an application"
az account show -o none 2>/dev/null || fault "az is not signed in: az login"
graph="$(az cloud show --query endpoints.microsoftGraphResourceId -o tsv)"
graph="${graph%/}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

if [ -z "$command" ]; then
  make_application
  exit
fi
[ -n "$client" ] || fault "API_CLIENT_ID is not set: run infra/sign-in.sh first"
principal="$(service_principal)"
[ -n "$principal" ] || fault "application $client has no service principal in this tenant: run infra/sign-in.sh"
case "$command" in
  list) list ;;
  *) "$command" "$role" "$whom" ;;
esac

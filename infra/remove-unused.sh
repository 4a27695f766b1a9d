#!/usr/bin/env bash
# Takes away what an earlier `azd provision` made and the last one no longer has: Azure's deployments only add and change.
# docs/deploy.md, "What turning an option off leaves".
set -euo pipefail

# What only an option makes: the option, then type and name, in the order in which Azure lets them go. The VHD account
# was closed by earlier releases; no option does that now.
made_by_options() {
  cat <<EOF
eventsTopic Microsoft.EventGrid/topics evgt-$NAMES_END_WITH
alertEmail Microsoft.Insights/actionGroups ag-$NAMES_END_WITH
privateNetwork Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}app-blob
privateNetwork Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}app-queue
privateNetwork Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}app-table
closedVhdAccount Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}vhd-blob
closedVhdAccount Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}vhd-queue
closedVhdAccount Microsoft.Network/privateEndpoints pe-st${NAMES_END_WITH}vhd-table
privateDnsZones Microsoft.Network/privateDnsZones/virtualNetworkLinks privatelink.blob.$suffix/vnet-$NAMES_END_WITH
privateDnsZones Microsoft.Network/privateDnsZones/virtualNetworkLinks privatelink.queue.$suffix/vnet-$NAMES_END_WITH
privateDnsZones Microsoft.Network/privateDnsZones/virtualNetworkLinks privatelink.table.$suffix/vnet-$NAMES_END_WITH
privateDnsZones Microsoft.Network/privateDnsZones privatelink.blob.$suffix
privateDnsZones Microsoft.Network/privateDnsZones privatelink.queue.$suffix
privateDnsZones Microsoft.Network/privateDnsZones privatelink.table.$suffix
network Microsoft.Network/virtualNetworks vnet-$NAMES_END_WITH
network Microsoft.Network/networkSecurityGroups nsg-functions-$NAMES_END_WITH
network Microsoft.Network/networkSecurityGroups nsg-endpoints-$NAMES_END_WITH
EOF
}

usage() {
  cat <<EOF
usage: infra/remove-unused.sh [--yes] [--subscription ID ...]

Shows what the deployment has made before and has no more (roles and role assignments, alerts, resources of options that
are off), and takes it away once you say so. It reads azd env get-values, and takes az, signed in (az login) as one who
may delete these. Run azd provision first.

  --subscription ID  look for roles there, too: where a gallery or a source was that is not in use any more
  --yes              take it away without asking
  --help
EOF
}

fault() {
  echo "remove-unused.sh: $1" >&2
  exit 2
}

roles_api=2022-04-01
yes='' more=()
while [ $# -gt 0 ]; do
  case "$1" in
    --help) usage && exit 0 ;;
    --yes) yes=1 ;;
    --subscription) [ $# -gt 1 ] || fault "--subscription takes an id" && more+=("$2") && shift ;;
    *) fault "there is no option $1: see --help" ;;
  esac
  shift
done

if [ -z "${NAMES_END_WITH:-}" ]; then
  command -v azd >/dev/null || fault "missing: azd (https://aka.ms/azd)"
  values="$(azd env get-values)" || fault "azd env get-values failed: run this where azure.yaml is, and azd provision first"
  eval "$values"
fi
for name in NAMES_END_WITH ROLE_NAMES_END_WITH ROLES_IN_USE ALERTS_IN_USE OPTIONS_ON PIPELINE_PRINCIPAL_ID \
  AZURE_RESOURCE_GROUP STORAGE_ACCOUNT STAGING_GALLERY_ID PRODUCTION_GALLERY_ID MANAGED_IMAGE_GROUP_ID VHD_CONTAINERS; do
  [ -n "${!name:-}" ] || fault "azd knows no $name: run azd provision first, of this release"
done
: "${UPLOADER_IN_USE:=}" "${PUBLISHER_IN_USE:=}" "${TESTER_IN_USE:=}"

command -v az >/dev/null || fault "missing: az (https://aka.ms/azcli)"
az account show >/dev/null 2>&1 || fault "az is not signed in: az login"

own="$(cut -d/ -f3 <<<"$MANAGED_IMAGE_GROUP_ID")"
group="/subscriptions/$own/resourceGroups/$AZURE_RESOURCE_GROUP"
account="$group/providers/Microsoft.Storage/storageAccounts/$STORAGE_ACCOUNT"
suffix="$(az cloud show --query suffixes.storageEndpoint -o tsv)"
mapfile -t subscriptions < <(printf '%s\n' "$own" "$(cut -d/ -f3 <<<"$STAGING_GALLERY_ID")" \
  "$(cut -d/ -f3 <<<"$PRODUCTION_GALLERY_ID")" "${more[@]}" | sort -u)

ids=() whats=()
found() { # ID WHAT
  ids+=("$1")
  whats+=("$2")
  echo "  $2"
  echo "      $1"
}

echo "No more in use:"

for subscription in "${subscriptions[@]}"; do
  # A role can only go once nobody is assigned to it.
  # By az rest: az role definition list leaves out what can be assigned in a resource group alone.
  roles="$(az rest --url "/subscriptions/$subscription/providers/Microsoft.Authorization/roleDefinitions?api-version=$roles_api&\$filter=atScopeAndBelow()" \
    --query "value[?ends_with(properties.roleName, '$ROLE_NAMES_END_WITH')].[name, id, properties.roleName]" -o tsv)"
  while IFS=$'\t' read -r name id role; do
    [ -n "$name" ] || continue
    case "$ROLES_IN_USE" in *"$name"*) continue ;; esac
    assigned="$(az role assignment list --subscription "$subscription" --all --query "[?roleDefinitionId=='$id'].id" -o tsv)"
    while read -r assignment; do
      [ -z "$assignment" ] || found "$assignment" "assignment of $role"
    done <<<"$assigned"
    found "$id" "role $role"
  done <<<"$roles"
done

# Built-in roles, by what the deployment says of each assignment: who has it, and on what.
in_use() { # DESCRIPTION PRINCIPAL SCOPE
  case "$1" in
    'Uploads VHDs') [ "$2" = "${UPLOADER_IN_USE,,}" ] && [[ "$VHD_CONTAINERS" == *"\"${3##*/}\""* ]] ;;
    'Asks for versions') [ "$2" = "${PUBLISHER_IN_USE,,}" ] ;;
    'Gives verdicts') [ "$2" = "${TESTER_IN_USE,,}" ] ;;
    'What the blob trigger asks for' | 'The queue of the blob trigger')
      [ "$2" = "${PIPELINE_PRINCIPAL_ID,,}" ] && [[ "$OPTIONS_ON" == *'"blobTrigger"'* ]]
      ;;
  esac
}
assigned="$(az role assignment list --subscription "$own" --all \
  --query "[?starts_with(scope, '$group/')].[id, description, principalId, roleDefinitionName, scope]" -o tsv)"
while IFS=$'\t' read -r assignment description principal role scope; do
  [ -z "$assignment" ] || in_use "$description" "${principal,,}" "$scope" ||
    found "$assignment" "assignment of $role on ${scope#"$group"/providers/}"
done <<<"$assigned"

case "$OPTIONS_ON" in
  *blobTrigger*) ;;
  *)
    topics="$(az eventgrid system-topic list -g "$AZURE_RESOURCE_GROUP" --subscription "$own" --query "[?source=='$account'].name" -o tsv)"
    while read -r topic; do
      [ -n "$topic" ] || continue
      told="$(az eventgrid system-topic event-subscription list -g "$AZURE_RESOURCE_GROUP" --system-topic-name "$topic" \
        --subscription "$own" --query "[?name=='blob-trigger'].id" -o tsv)"
      while read -r subscription; do
        [ -z "$subscription" ] || found "$subscription" "event subscription of the blob trigger"
      done <<<"$told"
    done <<<"$topics"
    ;;
esac

rules="$(az resource list -g "$AZURE_RESOURCE_GROUP" --subscription "$own" \
  --query "[?starts_with(name, 'gallerist-') && ends_with(name, '-$NAMES_END_WITH')].[name, id]" -o tsv)"
while IFS=$'\t' read -r name id; do
  [ -n "$name" ] || continue
  case "$ALERTS_IN_USE" in *"\"$name\""*) continue ;; esac
  found "$id" "alert $name"
done <<<"$rules"

while read -r option type name; do
  case "$OPTIONS_ON" in *"\"$option\""*) continue ;; esac
  id="$group/providers/$type/$name"
  [ "$type" != Microsoft.Network/privateDnsZones/virtualNetworkLinks ] ||
    id="$group/providers/Microsoft.Network/privateDnsZones/${name%/*}/virtualNetworkLinks/${name#*/}"
  if az resource show --ids "$id" --query id -o tsv >/dev/null 2>&1; then found "$id" "$type ${name##*/}, of $option"; fi
done < <(made_by_options)

if [ ${#ids[@]} = 0 ]; then
  echo "  nothing"
  exit 0
fi
if [ -z "$yes" ]; then
  [ -t 0 ] || fault "nothing was taken away: run it in a terminal and answer, or with --yes"
  read -r -p "Take these ${#ids[@]} away? [y/N] " answer
  case "$answer" in y | Y | yes) ;; *) echo "Nothing was taken away." && exit 1 ;; esac
fi

left=0
for i in "${!ids[@]}"; do
  id="${ids[$i]}"
  case "$id" in
    */roleAssignments/*) command=(az role assignment delete --ids "$id") ;;
    */roleDefinitions/*) command=(az rest --method delete --url "$id?api-version=$roles_api") ;;
    *) command=(az resource delete --ids "$id") ;;
  esac
  if why="$("${command[@]}" 2>&1 >/dev/null)"; then
    echo "gone: ${whats[$i]}"
  else
    echo "left: ${whats[$i]}: $(tail -n 1 <<<"$why")"
    left=$((left + 1))
  fi
done
[ "$left" = 0 ] || fault "not all is gone ($left left): see above. A network goes once the app is out of it: azd provision, or az functionapp vnet-integration remove"

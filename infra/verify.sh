#!/usr/bin/env bash
# Settles on a real deployment what nothing but Azure can settle, one check after the other, and prints what it saw.
# infra/README.md, "Not checked here", says of each what it is for.
# shellcheck disable=SC2329 # checks are called by their names
set -u

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
stamp="$(date -u +%m%d%H%M%S)"
image='' direct_image='' container=builds every=10 minutes=30 only='' dry='' agreed='' disturb=''
image_group='' made_blobs=() made_versions=() made_definitions=() made_images=() made_app='' made_group='' made_key='' closed=''
status='' answer='' headers='' verdict='' seen='' published='' published_why=''
rows=()

# What each check is: name | what it does beyond looking | what is true where the verdict is yes | what to do where it is no
checks() {
  cat <<'EOF'
answers | | the app answers, and has read its catalog | docs/operate.md#no-sweep, from the top
sweep | | identity, roles, network and settings are enough for a sweep | docs/operate.md#no-sweep
managed-image | makes | Azure makes a managed image of a VHD whose account refuses its keys, asked by one without listKeys | azd env set VHD_LIST_KEYS true, then azd provision
zone-redundant-vhd | makes | Azure Compute reads a VHD in a zone-redundant account | STORAGE_SKU=Standard_LRS, in an environment of another name: azd env new
event-grid | makes | Event Grid delivers to the queue by its own identity | docs/operate.md#event-dead-lettered; the sweep finds uploads until then
log-lines | | the pipeline's log lines come as AppTraces, their JSON whole | every query of infra/queries reads them: leave the alerts off, and watch with gallerist runs
version-echo | makes | Azure takes back as a PUT what it describes of a version | GALLERY_API_VERSION of a version that does not say both of storageAccountType and storageAccountStrategy
direct-version | makes | Azure makes a version directly from a VHD while the account refuses its keys | az storage account update --allow-shared-key-access true, the price of Arm64 and Specialized images
table-filter | | Table storage takes the bounds of keys that the pipeline asks with | tell the project: runs cannot list their history
blob-tags | | Blob storage finds by tag as the pipeline asks | keep source_vhd at tag or keep, and delete old VHDs by hand
operation-status | makes | reading an operation wants the role at subscription scope | the role Gallerist operation status may go
role-scopes | | a role made at subscription scope works with a resource group as its only assignable scope | give the subscription as assignableScope in infra/modules/role.bicep
roles-elsewhere | | the same with all assignable scopes in another subscription | as for role-scopes, with the gallery's subscription
soft-delete | makes | bypassSoftDelete is taken for a gallery without soft delete | the pipeline deletes plainly then, and asks in vain first
firewall | disturbs | Azure Compute reads a VHD behind a storage firewall that trusts Azure's services | the VHD account stays open to those who sign in, as it is
log-volume | | storage logs stay below 100 MB a day | leave StorageDelete out of the setting access of the queue service (infra/modules/vhd-storage.bicep)
alert-queries | | Azure runs each alert's query | the query that is named, in infra/queries; until then its alert is blind
alert-rules | | the alert rules are enabled, and none has switched itself off | az monitor scheduled-query update --disabled false, after its query is mended
alert-fires | makes | Azure Monitor fires on a query's answer | the query runs by hand, see alert-queries; tell the project
system-topic | | the VHD account's one system topic is the deployment's | azd env set SYSTEM_TOPIC_NAME with the name that is shown, then azd provision
sign-in | | a token reaches the app past App Service authentication, and no call without one does | the app is shut to everybody, or open: azd env set HTTP_API false, then azd provision, and tell the project
dotted-key | makes | a key of the Functions host may have a dot, by which the app knows its role | sign in (infra/sign-in.sh): keys tell no roles apart
ftp-policy | | the plan takes the publishing policies of FTP and deployment | leave noFtpPassword out of infra/modules/function-app.bicep; FTP has no password on this plan then
http-concurrency | | Azure says how many HTTP requests an instance takes at once | az functionapp scale config set --trigger-type http --trigger-settings perInstanceConcurrency=16 says it; azd provision takes it away again
zones-ready | makes | with zones Azure refuses fewer than two always-ready instances | fewestReady in infra/modules/function-app.bicep may be 1
subnet-detach | makes | virtualNetworkSubnetId: null takes an app out of its network | az functionapp vnet-integration remove, before the network is deleted
EOF
}

usage() {
  cat <<EOF
usage: infra/verify.sh [--image NAME] [option ...]

Asks a deployment made by azd what only Azure can answer, and prints a table. It reads azd env get-values; what is
exported already goes first. It takes az, curl, python3 and the gallerist command line, and you signed in (az login)
as one who may deploy and upload.

  --image NAME         an image of the catalog to publish to: x64, Gen2, Generalized. Without it what needs a version is left out
  --direct-image NAME  an Arm64 or Specialized image, where DIRECT_VHD is true
  --container NAME     where its VHDs go; the image's sources have to allow it (default: $container)
  --only NAME          this check only; as often as you like
  --disturb            also what keeps the app from its storage for some minutes
  --every SECONDS      between two looks (default: $every)
  --minutes N          how long to wait for one thing at most (default: $minutes)
  --yes                make what it makes without asking
  --dry-run            print the commands, run none
  --list               the checks, and what each finds out
  --help

It ends with 0 where no verdict is no, with 1 where one is, with 2 for what it cannot read.
EOF
}

fault() {
  echo "verify.sh: $1" >&2
  exit 2
}

about() { # NAME FIELD
  checks | awk -F ' *[|] *' -v name="$1" -v field="$2" '$1 == name {print $field}'
}

python() {
  if [ -x "$here/.venv/bin/python" ]; then "$here/.venv/bin/python" "$@"; else python3 "$@"; fi
}

quoted() { # as a shell takes it
  local word
  for word in "$@"; do
    case "$word" in
      '' | *[!A-Za-z0-9_./:=@%+,-]*) printf " '%s'" "${word//\'/\'\\\'\'}" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
}

# What a command prints is in $answer, its exit in $status.
run() {
  if [ -n "$dry" ]; then
    echo " $(quoted "$@")"
    status=0 answer=''
    return 0
  fi
  answer="$("$@" 2>"$work/stderr")"
  status=$?
  [ "$status" = 0 ] || answer="$answer$(tail -n 3 "$work/stderr" | tr '\n' ' ')"
  return "$status"
}

gallerist_cli() {
  if command -v gallerist >/dev/null; then run gallerist "$@"; else run python -m pipeline.cli "$@"; fi
}

token() { # AUDIENCE
  az account get-access-token --resource "$1" --query accessToken -o tsv 2>/dev/null ||
    curl -sS -G "${IDENTITY_ENDPOINT:?az is not signed in}" -H @- \
      --data-urlencode "resource=$1" --data-urlencode api-version=2019-08-01 <<<"X-IDENTITY-HEADER: ${IDENTITY_HEADER:-}" |
    python -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'
}

# $status is the HTTP status, $answer the body.
request() { # TOKEN METHOD URL [CURL-OPTION ...]
  local bearer="$1" method="$2" url="$3"
  shift 3
  if [ -n "$dry" ]; then
    echo "  curl -sS -X $method$(quoted "$url")$(quoted "$@") -H @- <<<\"Authorization: Bearer \$$bearer\""
    status=200 answer='' headers=''
    return 0
  fi
  local value="${!bearer:-}"
  if [ -z "$value" ]; then
    case "$bearer" in
      ARM_TOKEN) value="$(token https://management.azure.com)" ;;
      STORAGE_TOKEN) value="$(token https://storage.azure.com)" ;;
    esac
    printf -v "$bearer" %s "$value"
  fi
  status="$(printf 'header = "Authorization: Bearer %s"\n' "$value" |
    curl -sS -K - ${REQUESTS_CA_BUNDLE:+--cacert "$REQUESTS_CA_BUNDLE"} -X "$method" -D "$work/headers" -o "$work/body" -w '%{http_code}' "$url" "$@" 2>"$work/stderr")"
  answer="$(cat "$work/body" 2>/dev/null || cat "$work/stderr")"
  headers="$(tr -d '\r' <"$work/headers")"
  [ "${status:-0}" -ge 200 ] && [ "$status" -lt 300 ]
}

arm() { # METHOD PATH API-VERSION [JSON]
  local query="?api-version=$3"
  [ "${2#*\?}" = "$2" ] || query="&api-version=$3"
  request ARM_TOKEN "$1" "${ARM_ENDPOINT:-https://management.azure.com}$2$query" \
    -H 'Content-Type: application/json' ${4+--data "$4"}
}

storage() { # METHOD URL [CURL-OPTION ...]
  local method="$1" url="$2"
  shift 2
  request STORAGE_TOKEN "$method" "$url" -H 'x-ms-version: 2023-11-03' -H "x-ms-date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')" "$@"
}

pick() { # KEY[.KEY ...] of $answer
  printf %s "$answer" | python -c '
import json, sys
found = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    found = found.get(key) if isinstance(found, dict) else None
print("" if found is None else found if isinstance(found, str) else json.dumps(found))' "$1" 2>/dev/null
}

short() { printf %s "$answer" | tr -s '[:space:]' ' ' | cut -c 1-240; }
yes() { verdict=yes seen="$1"; }
no() { verdict=no seen="$1"; }
untried() { verdict='not tried' seen="$1"; }

need() { # VARIABLE ...
  local name
  for name in "$@"; do
    if [ -z "${!name:-}" ]; then
      [ -n "$dry" ] && printf -v "$name" %s "$name" && continue
      untried "$name is not known: azd env get-values has none"
      return 1
    fi
  done
}

wait_until() { # COMMAND ...: until it succeeds, for $minutes at most
  [ -n "$dry" ] && return 0
  local end=$((SECONDS + minutes * 60))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep "$every"
  done
}

logs() { # KQL
  need WORKSPACE_ID || return 1
  if [ -z "${workspace:-}" ]; then
    run az resource show --ids "$WORKSPACE_ID" --query properties.customerId -o tsv || {
      untried "az: $(short)"
      return 1
    }
    workspace="${answer:-WORKSPACE}"
  fi
  run az monitor log-analytics query -w "$workspace" --analytics-query "$1" -o json || {
    untried "az: $(short)"
    return 1
  }
}

# A VHD of 64 MiB with a partition table and nothing to boot, at $vhd_url.
upload() { # NAME V1|V2
  local file="$work/$1.vhd"
  vhd_url="$GALLERIST_STORAGE/$container/gallerist-verify/$1-$stamp.vhd"
  run python -c "import sys; from pathlib import Path; from sandbox.disk import make_vhd; make_vhd(Path(sys.argv[1]), generation=sys.argv[2], build=sys.argv[3])" "$file" "$2" "$stamp" || return 1
  made_blobs+=("$vhd_url")
  gallerist_cli upload "$file" --to "$vhd_url" --json
}

# Uploads one, publishes it, and looks at the run until it has ended.
publish() { # IMAGE NAME [V1]
  upload "$2" "${3:-V2}" || return 1
  # The lowest number there is, so that no one who asks for latest gets it where there is a version already.
  gallerist_cli publish "$1" --blob "$vhd_url" --version 0.0.x --json || return 1
  run_id="$(pick run)"
  run_id="${run_id:-RUN}"
  gallerist_cli watch "$run_id" --every "$every" --json
  gallerist_cli show "$run_id" --json || return 1
  [ -n "$dry" ] && version_id="${STAGING_GALLERY_ID:-STAGING_GALLERY_ID}/images/DEFINITION/versions/0.0.1" && return 0
  version_id="$(pick definition)/versions/$(pick version)"
  [ "$(pick state)" = published ] && made_versions+=("$version_id")
}

# Publishes once, however many checks ask for it. What came of it is in $published and $published_why.
published() {
  if [ -z "$image" ]; then
    untried 'give --image NAME, an image of the catalog to publish to'
    return 1
  fi
  if [ -z "$published" ]; then
    need GALLERIST_URL GALLERIST_STORAGE || return 1
    if publish "$image" verify; then
      published=yes published_id="$version_id" published_why="version ${version_id##*/} of $image is published"
    else
      published=no published_why="$(pick reason)"
      published_why="${published_why:-$(short)}"
    fi
  fi
}

check_answers() {
  need GALLERIST_URL || return
  run curl -fsS ${REQUESTS_CA_BUNDLE:+--cacert "$REQUESTS_CA_BUNDLE"} "$GALLERIST_URL/api/openapi.json" || { no "curl: $(short)"; return; }
  gallerist_cli runs --limit 1 --json || { no "gallerist runs: $(short)"; return; }
  yes 'openapi.json and runs answer'
}

check_sweep() {
  logs 'AppTraces | where TimeGenerated > ago(1h) and Message has "\"swept\"" | summarize n = count(), last = max(TimeGenerated)' || return
  case "$(short)" in *'"n": "0"'* | '[]') no 'no sweep in the last hour' ;; *) yes "$(short)" ;; esac
}

check_managed_image() {
  published || return
  case "$published:${VHD_LIST_KEYS:-}${DIRECT_VHD:-}" in
    yes:*true*) untried "$published_why, but the pipeline has listKeys: VHD_LIST_KEYS or DIRECT_VHD is true"; return ;;
  esac
  case "$published:$published_why" in
    yes:*) yes "$published_why" ;;
    *listKeys*) no "$published_why" ;;
    *) untried "the publish failed for another reason: $published_why" ;;
  esac
}

check_zone_redundant_vhd() {
  need STORAGE_ACCOUNT || return
  run az storage account show -n "$STORAGE_ACCOUNT" --query sku.name -o tsv || { untried "az: $(short)"; return; }
  local sku="$answer"
  case "$sku" in *ZRS | '') ;; *) untried "the account is $sku"; return ;; esac
  published || return
  case "$published" in yes) yes "$sku: $published_why" ;; *) no "$sku: $published_why" ;; esac
}

check_event_grid() {
  topic || return
  published || return
  run az monitor metrics list --resource "$topic_id" --metrics DeliverySuccessCount DeliveryAttemptFailCount DroppedEventCount \
    --aggregation total --interval PT1H --offset 1h --query "value[].{name: name.value, total: sum(timeseries[].data[].total)}" -o json ||
    { untried "az: $(short)"; return; }
  local counts
  counts="$(short)"
  case "$(printf %s "$counts" | tr -d ' "')" in
    *name:DeliverySuccessCount,total:0*) no "$counts" ;;
    *name:DeliverySuccessCount*) yes "$counts" ;;
    *) untried "$counts" ;;
  esac
}

check_log_lines() {
  logs 'AppTraces | where TimeGenerated > ago(1d) and Message startswith "{" | summarize lines = count(), whole = countif(isnotempty(parse_json(Message).event))' || return
  local lines
  lines="$(printf %s "$answer" | python -c 'import json, sys; row = json.load(sys.stdin)[0]; print(row["lines"], row["whole"])' 2>/dev/null)"
  case "$lines" in
    '' | '0 '*) untried 'no line within a day' ;;
    *) if [ "${lines% *}" = "${lines#* }" ]; then yes "${lines% *} lines, all whole"; else no "${lines% *} lines, ${lines#* } of them whole"; fi ;;
  esac
}

check_version_echo() {
  published || return
  [ "$published" = no ] && { untried "$published_why"; return; }
  arm GET "$published_id" "${GALLERY_API_VERSION:-2024-03-03}" || { untried "$status: $(short)"; return; }
  case "$answer" in
    *'"storageAccountStrategy"'*) yes "finishing has put back what was described, storageAccountStrategy too" ;;
    *) yes 'finishing has put back what was described; it names no storageAccountStrategy' ;;
  esac
}

check_direct_version() {
  [ -n "$direct_image" ] || { untried 'give --direct-image NAME, where DIRECT_VHD is true'; return; }
  need GALLERIST_URL GALLERIST_STORAGE || return
  if publish "$direct_image" direct; then
    yes "version ${version_id##*/} of $direct_image is published"
  else
    answer="$(pick reason)"
    no "$(short)"
  fi
}

check_table_filter() {
  need GALLERIST_STORAGE || return
  local tables="${Storage__tableServiceUri:-${GALLERIST_STORAGE/.blob./.table.}}" first
  for first in 'h|' $'h\x01'; do
    storage GET "$tables/runs()" -G -H 'Accept: application/json;odata=nometadata' --data-urlencode "\$top=1" \
      --data-urlencode "\$filter=PartitionKey eq 'none' and RowKey ge '$first' and RowKey lt 'h}'"
    case "$first:$status" in
      'h|:200') yes 'printable bounds: 200' ;;
      'h|:400') no "printable bounds: $status $(short)"; return ;;
      'h|:403' | 'h|:401') untried "$status: you have no data role on tables (docs/operate.md says how)"; return ;;
      'h|:'*) untried "$status: $(short)"; return ;;
      *) seen="$seen; control characters: $status" ;;
    esac
  done
}

check_blob_tags() {
  need GALLERIST_STORAGE || return
  storage GET "$GALLERIST_STORAGE/" -G --data-urlencode comp=blobs --data-urlencode "where=gallerist_${image//-/_} >= ''"
  case "$status" in
    200) yes "200" ;;
    400) no "$status: $(short)" ;;
    401 | 403) untried "$status: you may not find by tag; Storage Blob Data Owner may" ;;
    *) untried "$status: $(short)" ;;
  esac
}

check_operation_status() {
  need STAGING_GALLERY_ID AZURE_LOCATION || return
  local name="gallerist-verify-$stamp" gallery role secret tenant operation
  gallery="$(printf %s "${STAGING_GALLERY_ID##*/}" | tr '[:upper:]' '[:lower:]')"
  run az role definition list --custom-role-only --scope "${STAGING_GALLERY_ID%%/providers/*}" \
    --query "[?starts_with(roleName, 'Gallerist publisher of $gallery ')] | [0].roleName" -o tsv || { untried "az: $(short)"; return; }
  role="${answer:-Gallerist publisher}"
  run az ad sp create-for-rbac -n "$name" --role "$role" --scopes "$STAGING_GALLERY_ID" --query '[appId, password, tenant]' -o tsv ||
    { untried "you may not make an application: $(short)"; return; }
  read -r made_app secret tenant <<<"$(printf %s "$answer" | tr '\n\t' '  ')"
  made_app="${made_app:-APPLICATION}"
  # By way of a file: what a command is given, everyone on the machine can read.
  [ -n "$dry" ] || printf 'client_secret=%s' "$secret" >"$work/secret"
  run curl -fsS "https://login.microsoftonline.com/${tenant:-TENANT}/oauth2/v2.0/token" -d grant_type=client_credentials \
    -d "client_id=$made_app" -d "@$work/secret" -d scope=https://management.azure.com/.default ||
    { untried "no token: $(short)"; return; }
  # shellcheck disable=SC2034 # read by its name
  VERIFY_TOKEN="$(pick access_token)"
  local url="${ARM_ENDPOINT:-https://management.azure.com}$STAGING_GALLERY_ID/images/$name?api-version=2024-03-03"
  local body="{\"location\": \"$AZURE_LOCATION\", \"properties\": {\"osType\": \"Linux\", \"osState\": \"Generalized\", \"hyperVGeneration\": \"V2\", \"identifier\": {\"publisher\": \"gallerist\", \"offer\": \"verify\", \"sku\": \"$stamp\"}}}"
  made_definitions+=("$STAGING_GALLERY_ID/images/$name")
  wait_until request VERIFY_TOKEN PUT "$url" -H 'Content-Type: application/json' -d "$body" || { untried "$status: $(short)"; return; }
  [ -n "$dry" ] && request VERIFY_TOKEN PUT "$url" -H 'Content-Type: application/json' -d "$body"
  operation="$(printf %s "$headers" | awk 'tolower($1) == "azure-asyncoperation:" {print $2}')"
  [ -n "$dry" ] && operation=AZURE-ASYNCOPERATION
  [ -n "$operation" ] || { untried 'Azure named no operation'; return; }
  request VERIFY_TOKEN GET "$operation"
  case "$status" in
    200) no '200: the role on the gallery is enough' ;;
    403) yes "403: $(short)" ;;
    *) untried "$status: $(short)" ;;
  esac
}

check_role_scopes() {
  need AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP || return
  local found
  run az role definition list --custom-role-only --scope "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP" \
    --query "[?starts_with(roleName, 'Gallerist ')].[roleName, join(' ', assignableScopes)]" -o tsv || { untried "az: $(short)"; return; }
  found="$(printf '%s\n' "$answer" | awk -F '\t' '$2 ~ /resource[Gg]roups/ && $2 !~ /^\/subscriptions\/[^\/]*( |$)/' | grep -c .)"
  if [ "$found" -gt 0 ]; then yes "$found roles, made and assigned so"; else untried 'there is none of this deployment here'; fi
}

check_roles_elsewhere() {
  need AZURE_SUBSCRIPTION_ID STAGING_GALLERY_ID PRODUCTION_GALLERY_ID PIPELINE_PRINCIPAL_ID || return
  local id elsewhere=''
  for id in "$STAGING_GALLERY_ID" "$PRODUCTION_GALLERY_ID"; do
    case "$id" in "/subscriptions/$AZURE_SUBSCRIPTION_ID/"*) ;; *) elsewhere="$id" ;; esac
  done
  [ -n "$elsewhere" ] || { untried 'both galleries are in the subscription of the app'; return; }
  run az role assignment list --assignee "$PIPELINE_PRINCIPAL_ID" --scope "$elsewhere" --query '[].roleDefinitionName' -o tsv ||
    { untried "az: $(short)"; return; }
  case "$answer" in *'Gallerist publisher'*) yes "$(short)" ;; *) no "nothing on $elsewhere" ;; esac
}

check_soft_delete() {
  published || return
  [ "$published" = no ] && { untried "$published_why"; return; }
  arm DELETE "$published_id?bypassSoftDelete=true" 2026-03-03
  case "$status" in
    200 | 202 | 204) yes "$status" ;;
    400) no "400: $(short)" ;;
    *) untried "$status: $(short)" ;;
  esac
}

check_firewall() {
  need STORAGE_ACCOUNT GALLERIST_STORAGE MANAGED_IMAGE_GROUP_ID AZURE_LOCATION || return
  local name="gallerist-verify-$stamp"
  upload firewall V2 || { untried "$(short)"; return; }
  image_group="${MANAGED_IMAGE_GROUP_ID##*/}"
  closed="$STORAGE_ACCOUNT"
  run az storage account update -n "$STORAGE_ACCOUNT" --default-action Deny --bypass AzureServices -o none || { untried "az: $(short)"; return; }
  # A change of network rules takes a while to be heeded; what is asked at once would prove nothing.
  [ -n "$dry" ] || sleep 60
  made_images+=("$name")
  if run az image create -g "$image_group" -n "$name" -l "$AZURE_LOCATION" --source "$vhd_url" --os-type Linux --hyper-v-generation V2 -o none; then
    yes 'a managed image was made with the account closed'
  else
    no "$(short)"
  fi
  open_again
}

open_again() {
  [ -n "$closed" ] || return 0
  run az storage account update -n "$closed" --default-action Allow -o none && closed=''
}

check_log_volume() {
  logs 'Usage | where TimeGenerated > ago(7d) and DataType in ("StorageQueueLogs", "StorageBlobLogs", "StorageTableLogs") | summarize MB = sum(Quantity), days = dcount(startofday(TimeGenerated)) by DataType | project DataType, MBaDay = round(MB / days, 2)' || return
  local most
  most="$(printf %s "$answer" | python -c 'import json, sys; print(int(sum(float(row["MBaDay"]) for row in json.load(sys.stdin))))' 2>/dev/null)"
  case "$most" in
    '') untried "$(short)" ;;
    *) if [ "$most" -lt 100 ]; then yes "$most MB a day: $(short)"; else no "$most MB a day: $(short)"; fi ;;
  esac
}

check_alert_queries() {
  local file refused='' count=0
  for file in "$here"/infra/queries/*.kql; do
    logs "$(sed 's/DEADLINE_HOURS/6/g' "$file")"
    case "$verdict:$seen" in
      'not tried:'*SemanticError* | 'not tried:'*BadArgument* | 'not tried:'*SyntaxError*) refused="$refused $(basename "$file" .kql)" ;;
      'not tried:'*) return ;;
    esac
    verdict='' seen='' count=$((count + 1))
  done
  if [ -n "$refused" ]; then no "refused:$refused"; else yes "$count queries run"; fi
}

check_alert_rules() {
  need AZURE_RESOURCE_GROUP || return
  run az resource list -g "$AZURE_RESOURCE_GROUP" --resource-type Microsoft.Insights/scheduledQueryRules --query '[].id' -o tsv ||
    { untried "az: $(short)"; return; }
  local id off='' count=0 rules="${answer:-RULES}"
  for id in $rules; do
    run az resource show --ids "$id" --query properties.enabled -o tsv
    [ -n "$dry" ] || [ "$answer" = true ] || off="$off ${id##*/}"
    count=$((count + 1))
  done
  run az monitor activity-log list -g "$AZURE_RESOURCE_GROUP" --offset 30d \
    --query "[?contains(operationName.value, 'QueryRules') && contains(operationName.value, 'disable')].resourceId" -o tsv ||
    { untried "az: $(short)"; return; }
  off="$off $(printf %s "$answer" | awk -F / '{print $NF}' | tr '\n' ' ')"
  if [ -n "${off// /}" ]; then no "off:$off"; elif [ "$count" = 0 ]; then no 'there is no rule'; else yes "$count rules are enabled"; fi
}

check_alert_fires() {
  [ -n "$image" ] || { untried 'give --image NAME'; return; }
  need GALLERIST_URL GALLERIST_STORAGE AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP || return
  # A disk that boots by BIOS does not fit: the run fails, with its reason.
  publish "$image" misfit V1
  [ -n "$dry" ] || [ "$(pick state)" = failed ] || { untried "the run did not fail: $(short)"; return; }
  local alerts="/subscriptions/$AZURE_SUBSCRIPTION_ID/providers/Microsoft.AlertsManagement/alerts?timeRange=1h&targetResourceGroup=$AZURE_RESOURCE_GROUP"
  [ -n "$dry" ] && arm GET "$alerts" 2019-03-01
  if wait_until fired "$alerts"; then
    yes "needs-action-today fired after run $run_id failed"
  elif [ "$status" = 200 ]; then
    no "nothing within $minutes minutes"
  else
    untried "$status: $(short)"
  fi
}

fired() {
  arm GET "$1" 2019-03-01 || return 1
  case "$answer" in *needs-action-today*) ;; *) return 1 ;; esac
}

topic() { # the system topics of the VHD account, in $topic_id and $topics
  need STORAGE_ACCOUNT || return 1
  local account
  run az storage account show -n "$STORAGE_ACCOUNT" --query id -o tsv || { untried "az: $(short)"; return 1; }
  account="${answer:-ACCOUNT-ID}"
  run az eventgrid system-topic list --query "[?source=='$account'].id" -o tsv || { untried "az: $(short)"; return 1; }
  topics="$answer" topic_id="${answer%%$'\n'*}"
  topic_id="${topic_id:-TOPIC-ID}"
}

check_system_topic() {
  topic || return
  case "$topics" in
    '') no 'the account has none' ;;
    */evgst-*) yes "${topics##*/}" ;;
    *) if [ "${topics##*/}" = "${SYSTEM_TOPIC_NAME:-}" ]; then yes "${topics##*/}, as SYSTEM_TOPIC_NAME says"; else no "${topics##*/}"; fi ;;
  esac
}

app_path() {
  need AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP FUNCTION_APP || return 1
  app="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.Web/sites/$FUNCTION_APP"
}

check_sign_in() {
  need GALLERIST_URL || return
  [ -n "${API_CLIENT_ID:-}" ] || { untried 'callers show keys: API_CLIENT_ID is not set'; return; }
  run curl -sS ${REQUESTS_CA_BUNDLE:+--cacert "$REQUESTS_CA_BUNDLE"} -o "$work/body" -w '%{http_code}' "$GALLERIST_URL/api/images"
  [ -n "$dry$(grep -x 401 <<<"$answer")" ] || { no "without a token: $(short)"; return; }
  # shellcheck disable=SC2016 # to be read, not run
  [ -z "$dry" ] || printf '  API_TOKEN="$(az account get-access-token --resource api://%s --query accessToken -o tsv)"\n' "$API_CLIENT_ID"
  # shellcheck disable=SC2034 # read by its name
  [ -n "$dry" ] || API_TOKEN="$(token "api://$API_CLIENT_ID")" || { untried "no token for api://$API_CLIENT_ID: has infra/sign-in.sh given you a role?"; return; }
  request API_TOKEN GET "$GALLERIST_URL/api/images"
  case "$status" in
    200) yes 'without a token 401, with one 200' ;;
    401 | 403) no "with a token $status: $(short)" ;;
    *) untried "$status: $(short)" ;;
  esac
}

check_dotted_key() {
  [ -z "${API_CLIENT_ID:-}" ] || { untried 'callers sign in: API_CLIENT_ID is set'; return; }
  need GALLERIST_URL || return
  app_path || return
  if [ -z "$dry" ]; then
    local key
    key="publisher.$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')"
    printf '{"properties": {"name": "gallerist-verify", "value": "%s"}}' "$key" >"$work/key.json"
    printf 'x-functions-key: %s\n' "$key" >"$work/key.header"
  fi
  made_key="$app/host/default/functionKeys/gallerist-verify"
  arm PUT "$made_key" 2024-04-01 "@$work/key.json" || { untried "$status: $(short)"; return; }
  [ -n "$dry" ] && key_opens
  if wait_until key_opens; then yes 'a key of this form opens /api/images'; else no "$(short)"; fi
}

key_opens() {
  run curl -fsS ${REQUESTS_CA_BUNDLE:+--cacert "$REQUESTS_CA_BUNDLE"} -H "@$work/key.header" "$GALLERIST_URL/api/images"
}

check_ftp_policy() {
  app_path || return
  local kind allowed=''
  for kind in ftp scm; do
    arm GET "$app/basicPublishingCredentialsPolicies/$kind" 2024-04-01 || { untried "$status: $(short)"; return; }
    [ "$(pick properties.allow)" = false ] || allowed="$allowed $kind"
  done
  if [ -n "$allowed" ]; then no "passwords are taken for:$allowed"; else yes 'neither takes a password'; fi
}

check_http_concurrency() {
  app_path || return
  arm GET "$app" 2024-04-01 || { untried "$status: $(short)"; return; }
  local found
  found="$(pick properties.functionAppConfig.scaleAndConcurrency)"
  case "$found" in
    *perInstanceConcurrency*) yes "$found" ;;
    *) no "it says none: ${found:-nothing}" ;;
  esac
}

# An app of its own beside the deployed one, with the same package, on a plan of its own: in a group that goes again.
scratch() { # NAME ZONES ALWAYS-READY SUBNET-ID-OR-NULL; the answer to its PUT
  need AZURE_LOCATION || return 1
  app_path || return 1
  if [ -z "$made_group" ]; then
    made_group="$AZURE_RESOURCE_GROUP-verify-$stamp"
    run az group create -n "$made_group" -l "$AZURE_LOCATION" -o none || { made_group=''; untried "az: $(short)"; return 1; }
  fi
  scratch_group="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$made_group"
  local plan="$scratch_group/providers/Microsoft.Web/serverfarms/plan-$1"
  arm GET "$app" 2024-04-01 || { untried "$status: $(short)"; return 1; }
  local site="$answer"
  arm PUT "$plan" 2024-04-01 "{\"location\": \"$AZURE_LOCATION\", \"kind\": \"functionapp\", \"sku\": {\"name\": \"FC1\", \"tier\": \"FlexConsumption\"}, \"properties\": {\"reserved\": true, \"zoneRedundant\": $2}}" ||
    { untried "the plan, $status: $(short)"; return 1; }
  scratch_body="$(printf %s "$site" | python -c '
import json, sys
site, (plan, ready, subnet) = json.load(sys.stdin), sys.argv[1:]
config = site["properties"]["functionAppConfig"]
config["scaleAndConcurrency"]["alwaysReady"] = [{"name": "http", "instanceCount": int(ready)}] if int(ready) else []
identities = {one: {} for one in site["identity"]["userAssignedIdentities"]}
print(json.dumps({"location": site["location"], "kind": site["kind"],
    "identity": {"type": "UserAssigned", "userAssignedIdentities": identities},
    "properties": {"serverFarmId": plan, "httpsOnly": True, "functionAppConfig": config,
        "virtualNetworkSubnetId": None if subnet == "null" else subnet}}))' "$plan" "$3" "$4" 2>/dev/null)"
  scratch_app="$scratch_group/providers/Microsoft.Web/sites/$1"
  arm PUT "$scratch_app" 2024-04-01 "${scratch_body:-APP}"
}

check_zones_ready() {
  scratch "func-$stamp-z" true 1 null
  case "$verdict:$status" in
    'not tried:'*) ;;
    *:4*) yes "$status: $(short)" ;;
    *:2*) no "$status: one always-ready instance is taken" ;;
    *) untried "$status: $(short)" ;;
  esac
}

check_subnet_detach() {
  scratch "func-$stamp-n" false 0 null || { [ -n "$verdict" ] || untried "the app, $status: $(short)"; return; }
  run az network vnet create -g "$made_group" -n vnet -l "$AZURE_LOCATION" --address-prefixes 10.7.0.0/24 -o none ||
    { untried "az: $(short)"; return; }
  run az network vnet subnet create -g "$made_group" --vnet-name vnet -n app --address-prefixes 10.7.0.0/26 \
    --delegations Microsoft.App/environments --query id -o tsv || { untried "az: $(short)"; return; }
  local subnet="${answer:-SUBNET-ID}" joined
  joined="$(printf %s "$scratch_body" | python -c 'import json, sys; body = json.load(sys.stdin); body["properties"]["virtualNetworkSubnetId"] = sys.argv[1]; print(json.dumps(body))' "$subnet" 2>/dev/null)"
  arm PUT "$scratch_app" 2024-04-01 "${joined:-APP}" || { untried "joining, $status: $(short)"; return; }
  arm PUT "$scratch_app" 2024-04-01 "${scratch_body:-APP}" || { no "leaving, $status: $(short)"; return; }
  arm GET "$scratch_app" 2024-04-01
  subnet="$(pick properties.virtualNetworkSubnetId)"
  if [ -z "$subnet" ]; then yes 'it is in no network any more'; else no "it is still in $subnet"; fi
}

gone() { # PATH API-VERSION
  arm GET "$1" "$2"
  [ "$status" = 404 ]
}

# Bash 3, which macOS has, takes an empty array for one that is not set.
take_away() {
  local left='' one
  open_again || left="$left; the firewall of $closed is still shut: az storage account update -n $closed --default-action Allow"
  for one in ${made_versions[@]+"${made_versions[@]}"}; do
    arm DELETE "$one" 2024-03-03
    wait_until gone "$one" 2024-03-03 || left="$left; $one"
  done
  for one in ${made_definitions[@]+"${made_definitions[@]}"}; do
    arm DELETE "$one" 2024-03-03
    wait_until gone "$one" 2024-03-03 || left="$left; $one"
  done
  for one in ${made_images[@]+"${made_images[@]}"}; do
    run az image delete -g "$image_group" -n "$one" || left="$left; managed image $one"
  done
  for one in ${made_blobs[@]+"${made_blobs[@]}"}; do
    storage DELETE "$one" || [ "$status" = 404 ] || left="$left; $one"
  done
  if [ -n "$made_key" ]; then
    arm DELETE "$made_key" 2024-04-01 || [ "$status" = 404 ] || left="$left; $made_key"
  fi
  if [ -n "$made_app" ]; then
    run az role assignment delete --assignee "$made_app" --scope "$STAGING_GALLERY_ID" || left="$left; role assignments of $made_app"
    run az ad app delete --id "$made_app" || left="$left; application $made_app"
  fi
  if [ -n "$made_group" ]; then
    run az group delete -n "$made_group" --yes || left="$left; resource group $made_group"
  fi
  [ -n "$dry" ] || rm -rf "$work"
  [ -z "$left" ] || printf '\nLeft behind, for you to take away: %s\n' "${left#; }" >&2
}

table() {
  printf '\n%-20s %-10s %s\n' check verdict 'what was seen'
  local row name
  for row in ${rows[@]+"${rows[@]}"}; do
    name="${row%%|*}" row="${row#*|}"
    printf '%-20s %-10s %s\n' "$name" "${row%%|*}" "${row#*|}"
    case "$row" in 'no|'*) printf '%-20s %-10s -> %s\n' '' '' "$(about "$name" 4)" ;; esac
  done
}

while [ "$#" -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --list)
      checks | awk -F ' *[|] *' '{printf "%-20s %-9s %s\n", $1, $2, $3}'
      exit 0
      ;;
    --dry-run) dry=1 ;;
    --disturb) disturb=1 ;;
    --yes) agreed=1 ;;
    --image | --direct-image | --container | --only | --every | --minutes)
      [ -n "${2:-}" ] || fault "$1 takes a value; --help lists the options"
      case "$1" in
        --image) image="$2" ;;
        --direct-image) direct_image="$2" ;;
        --container) container="$2" ;;
        --every) every="$2" ;;
        --minutes) minutes="$2" ;;
        --only)
          [ -n "$(about "$2" 1)" ] || fault "there is no check $2; --list lists them"
          only="$only $2 "
          ;;
      esac
      shift
      ;;
    *) fault "there is no option $1; --help lists them" ;;
  esac
  shift
done

if command -v azd >/dev/null && values="$(azd -C "$here" env get-values 2>/dev/null)"; then
  while IFS='=' read -r name value; do
    [ -n "$name" ] && [ -z "${!name:-}" ] && value="${value#\"}" && printf -v "$name" %s "${value%\"}"
  done <<<"$values"
fi
export GALLERIST_URL="${GALLERIST_URL:-}" GALLERIST_STORAGE="${GALLERIST_STORAGE:-}" PYTHONPATH="$here"
unset CATALOG # what does not fit is to be refused by the pipeline, not before
work="${TMPDIR:-/tmp}"
chosen=''
for name in $(checks | cut -d ' ' -f 1); do
  case "$only" in '' | *" $name "*) ;; *) continue ;; esac
  chosen="$chosen $name"
done

makes=''
for name in $chosen; do
  case "$(about "$name" 2):$disturb$only" in makes:* | disturbs:?*) makes="$makes $name" ;; esac
done
if [ -n "$makes" ] && [ -z "$dry" ]; then
  cat <<EOF
These make something in Azure, and take it away again:$makes
  a version of ${image:-(no --image)} and one of ${direct_image:-(no --direct-image)}, of a disk with nothing on it, in all regions of the image, for some minutes;
  an image definition, an application in Entra, a function key, a resource group with two function apps, a managed image: none of them for long.
  It costs less than a dollar. What stays: rows of the runs in the tables, their numbers (0.0.x), log lines; an alert may write.
EOF
  if [ -z "$agreed" ]; then
    [ -t 0 ] || fault 'say --yes, or --only what looks and makes nothing (--list tells)'
    read -r -p 'Go on? [y/N] ' agreed
    case "$agreed" in y | Y | yes) ;; *) exit 2 ;; esac
  fi
fi

if [ -z "$dry" ]; then
  work="$(mktemp -d)"
  : >"$work/headers"
  trap 'exit 130' INT TERM
  trap 'take_away' EXIT
  if [ -z "${GALLERIST_KEY:-}${GALLERIST_AUDIENCE:-}" ] && [ -n "${FUNCTION_APP:-}" ]; then
    GALLERIST_KEY="$(az functionapp keys list -g "${AZURE_RESOURCE_GROUP:-}" -n "$FUNCTION_APP" --query functionKeys.default -o tsv 2>/dev/null)"
    export GALLERIST_KEY
  fi
else
  # shellcheck disable=SC2016 # to be read, not run
  echo 'ARM_TOKEN="$(az account get-access-token --resource https://management.azure.com --query accessToken -o tsv)"'
  # shellcheck disable=SC2016 # likewise
  echo 'STORAGE_TOKEN="$(az account get-access-token --resource https://storage.azure.com --query accessToken -o tsv)"'
fi

for name in $chosen; do
  verdict='' seen=''
  [ -n "$dry" ] && printf '\n# %s: %s\n' "$name" "$(about "$name" 3)"
  [ -n "$dry" ] || echo "$name ..." >&2
  if [ "$(about "$name" 2)" = disturbs ] && [ -z "$disturb$only" ]; then
    untried 'it keeps the app from its storage for some minutes: --disturb'
  else
    "check_${name//-/_}"
  fi
  rows+=("$name|${verdict:-not tried}|${seen:-it said nothing}")
done
if [ -n "$dry" ]; then
  printf '\n# what was made is taken away\n'
  take_away
  exit 0
fi
table
case " ${rows[*]} " in *'|no|'*) exit 1 ;; esac
exit 0

#!/bin/sh
# Makes catalog.yaml from catalog.yaml.example where there is none, with the galleries of this environment.
set -eu
cd "$(dirname "$0")/.."
[ ! -e catalog.yaml ] || exit 0
sed -e "s|STAGING_GALLERY_ID|${STAGING_GALLERY_ID:?run azd provision first}|" \
    -e "s|PRODUCTION_GALLERY_ID|${PRODUCTION_GALLERY_ID:?run azd provision first}|" \
    -e "s|AZURE_LOCATION|${AZURE_LOCATION:?run azd provision first}|" \
    catalog.yaml.example > catalog.yaml.new
mv catalog.yaml.new catalog.yaml
echo "catalog.yaml is made from catalog.yaml.example: commit it, and make it yours"

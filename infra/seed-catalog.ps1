# Makes catalog.yaml from catalog.yaml.example where there is none, with the galleries of this environment.
$ErrorActionPreference = 'Stop'
Set-Location (Join-Path $PSScriptRoot '..')
if (Test-Path catalog.yaml) { exit 0 }
foreach ($name in 'STAGING_GALLERY_ID', 'PRODUCTION_GALLERY_ID', 'AZURE_LOCATION') {
  if (-not [Environment]::GetEnvironmentVariable($name)) { throw "${name}: run azd provision first" }
}
(Get-Content -Raw catalog.yaml.example).
  Replace('STAGING_GALLERY_ID', $env:STAGING_GALLERY_ID).
  Replace('PRODUCTION_GALLERY_ID', $env:PRODUCTION_GALLERY_ID).
  Replace('AZURE_LOCATION', $env:AZURE_LOCATION) | Set-Content -NoNewline catalog.yaml
Write-Host 'catalog.yaml is made from catalog.yaml.example: commit it, and make it yours'

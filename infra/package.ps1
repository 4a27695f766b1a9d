# Before azd packs the app: its packages, for the Python that runs it in Azure.
$ErrorActionPreference = 'Stop'
Set-Location (Join-Path $PSScriptRoot '..')
foreach ($python in '.venv\Scripts\python.exe', 'python3', 'python', 'py') {
  if (-not (Get-Command $python -ErrorAction SilentlyContinue)) { continue }
  & $python -m pip --version *> $null
  if ($LASTEXITCODE -ne 0) { continue }
  & $python infra/package.py
  if ($LASTEXITCODE -ne 0) { throw 'the packages are not fit to be deployed, see above' }
  exit 0
}
throw 'missing: Python with pip, of any version from 3.9 on'

using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param apiVersions = {
  gallery: '2025-03-03'
  compute: '2025-04-01'
  disk: '2025-01-02'
}

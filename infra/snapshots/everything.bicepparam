using '../main.bicep'

// All options that go together.
param environmentName = 'prod'
param location = 'westeurope'
param tags = {
  'cost-center': '4711'
}
param productionGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galProduction'
param sourceResourceGroupIds = [
  '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-builds'
  '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/RG-Builds'
  '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-builds'
]
param sourceKinds = [
  'disk'
  'snapshot'
  'vm'
]
param directVhd = true
param deletesVhds = true
param uploaderPrincipalId = '11111111-1111-4111-8111-111111111111'
param uploaderPrincipalType = 'Group'
param publisherPrincipalId = '11111111-1111-4111-8111-111111111121'
param publisherPrincipalType = 'ServicePrincipal'
param testerPrincipalId = '11111111-1111-4111-8111-111111111122'
param testerPrincipalType = 'ServicePrincipal'
param productionRetention = true
param logReads = true
param eventsTopic = true
param apiClientId = '11111111-1111-4111-8111-111111111112'
param apiCallerClientIds = [
  '11111111-1111-4111-8111-111111111113'
]
param alertEmail = 'images@example.com'
param privateNetwork = true
param blobTrigger = true
param alwaysReadyInstances = 1
param zoneRedundant = true
param siteUpdateStrategy = 'RollingUpdate'

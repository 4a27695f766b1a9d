using '../main.bicep'

// Disks, snapshots and virtual machines of other groups may be published; one group is named twice.
param environmentName = 'prod'
param location = 'westeurope'
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

// refused: sourceResourceGroupIds: src is not the id of a resource group
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param sourceResourceGroupIds = [
  'src'
]

// refused: sourceKinds: give sourceResourceGroupIds with it
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param sourceKinds = [
  'disk'
]

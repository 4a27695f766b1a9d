// refused: blob
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param sourceKinds = [
  'image'
  'blob'
]

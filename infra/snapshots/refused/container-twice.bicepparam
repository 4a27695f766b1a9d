// refused: vhdContainers: names one container twice
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param vhdContainers = [
  'vhds'
  'vhds'
]

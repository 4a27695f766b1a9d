// refused: vhdContainers: VHDs is not the name of a container
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param vhdContainers = [
  'VHDs'
]

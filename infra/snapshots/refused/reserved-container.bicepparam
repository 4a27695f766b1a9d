// refused: vhdContainers: dead-letter is kept for what could not be taken
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param vhdContainers = [
  'vhds'
  'dead-letter'
]

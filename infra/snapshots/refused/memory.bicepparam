// refused: 3000
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param instanceMemoryMB = 3000

// refused: vhdContainers: name at least one
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param vhdContainers = []

// refused: zoneRedundant: set storageSku to Standard_ZRS or Standard_GZRS with it
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param zoneRedundant = true
param storageSku = 'Standard_GRS'

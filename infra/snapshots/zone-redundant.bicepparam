using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param zoneRedundant = true
param alwaysReadyInstances = 1

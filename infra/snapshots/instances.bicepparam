using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param instanceMemoryMB = 4096
param maximumInstanceCount = 100
param alwaysReadyInstances = 1

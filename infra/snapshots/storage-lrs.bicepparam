using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param storageSku = 'Standard_LRS'

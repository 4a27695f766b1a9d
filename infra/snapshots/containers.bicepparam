using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param vhdContainers = [
  'nightly'
]
param logRetentionDays = 30

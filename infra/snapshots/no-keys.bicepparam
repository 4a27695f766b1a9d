using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param apiKeyRoles = []

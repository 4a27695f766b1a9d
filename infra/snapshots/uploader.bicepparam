using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param uploaderPrincipalId = '11111111-1111-4111-8111-111111111111'
param uploaderPrincipalType = 'Group'

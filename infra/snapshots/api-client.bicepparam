using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param apiClientId = '11111111-1111-4111-8111-111111111112'
param apiCallerClientIds = [
  '11111111-1111-4111-8111-111111111113'
]

using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
// One and the same may ask and judge, where somebody says so: who tries it out, alone.
param publisherPrincipalId = '11111111-1111-4111-8111-111111111121'
param testerPrincipalId = '11111111-1111-4111-8111-111111111121'

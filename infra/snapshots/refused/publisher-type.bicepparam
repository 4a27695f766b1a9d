// refused: Application
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param publisherPrincipalId = '11111111-1111-4111-8111-111111111121'
param publisherPrincipalType = 'Application'

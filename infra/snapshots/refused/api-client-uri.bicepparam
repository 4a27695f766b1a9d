// refused: apiClientId: api://gallerist is not the client id of an application
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param apiClientId = 'api://gallerist'

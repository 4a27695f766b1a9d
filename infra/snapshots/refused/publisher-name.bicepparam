// refused: publisherPrincipalId: build-agents is not an object id
// refused: testerPrincipalId: 11111111-1111 is not an object id
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param publisherPrincipalId = 'build-agents'
param testerPrincipalId = '11111111-1111'

// refused: uploaderPrincipalId: someone@example.com is not an object id
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param uploaderPrincipalId = 'someone@example.com'

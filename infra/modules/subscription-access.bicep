// One role for the pipeline on one subscription.
targetScope = 'subscription'

param roleId string
param principalId string

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, principalId, roleId)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}

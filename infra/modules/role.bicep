// A role of the pipeline's own. It can be assigned in one scope, and in none below another.
targetScope = 'subscription'

param name string
param roleName string
param roleDescription string
param actions string[] = []
param dataActions string[] = []
param assignableScope string

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: name
  properties: {
    roleName: roleName
    description: roleDescription
    type: 'CustomRole'
    permissions: [
      {
        actions: actions
        notActions: []
        dataActions: dataActions
        notDataActions: []
      }
    ]
    assignableScopes: [
      assignableScope
    ]
  }
}

output id string = role.id

// A role of the pipeline's own, and the pipeline in it, on this subscription.
targetScope = 'subscription'

param name string
param roleName string
param roleDescription string
param actions string[]
param principalId string

module role 'role.bicep' = {
  params: {
    name: name
    roleName: roleName
    roleDescription: roleDescription
    actions: actions
    assignableScope: subscription().id
  }
}

module access 'subscription-access.bicep' = {
  params: {
    roleId: role.outputs.id
    principalId: principalId
  }
}

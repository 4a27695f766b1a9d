// A role of the pipeline's own, and the pipeline in it, on one resource group of this subscription.
targetScope = 'subscription'

param name string
param roleName string
param roleDescription string
param actions string[]
param groupName string
param principalId string

module role 'role.bicep' = {
  params: {
    name: name
    roleName: roleName
    roleDescription: roleDescription
    actions: actions
    assignableScope: '${subscription().id}/resourceGroups/${groupName}'
  }
}

module access 'group-access.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    roleId: role.outputs.id
    principalId: principalId
  }
}

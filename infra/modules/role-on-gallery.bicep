// A role of the pipeline's own, and the pipeline in it, on one gallery of this subscription. A custom role's smallest
// assignable scope is a resource group ("Understand Azure role definitions", AssignableScopes).
targetScope = 'subscription'

param name string
param roleName string
param roleDescription string
param actions string[]
param groupName string
param galleryName string
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

module access 'gallery-access.bicep' = {
  scope: resourceGroup(groupName)
  params: {
    galleryName: galleryName
    roleId: role.outputs.id
    principalId: principalId
  }
}

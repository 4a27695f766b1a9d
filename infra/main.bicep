// Gallerist in one subscription: `azd up` makes all of this and deploys the function app into it.
// infra/README.md tells what each module is for; docs/security.md who may do what, and why.
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('Name of the azd environment. It is in the names and tags of everything.')
param environmentName string

@minLength(1)
@description('The region of the function app, of the VHDs and of the galleries made here. Azure wants VHD and gallery in one.')
param location string

@description('Resource id of a gallery that exists, to publish into. One is made where this is empty.')
param stagingGalleryId string = ''

@description('Resource id of a gallery that exists, to promote into; another subscription of the tenant will do. One is made where this is empty.')
param productionGalleryId string = ''

@description('Resource groups, by id, whose disks, snapshots, virtual machines, images and gallery versions may be published.')
param sourceResourceGroupIds array = []

@description('Which of disk, snapshot and vm may be a source. Azure wants write access to each before it makes a version of it.')
param sourceKinds array = []

@description('Let images go directly from a VHD to a version: Arm64 and Specialized ones have no other way. Azure wants listKeys on the VHD account for it.')
param directVhd bool = false

@description('Let retention delete VHDs once they are published, as the catalog may ask. Without it the pipeline can delete none.')
param deletesVhds bool = false

@description('The containers for VHDs: those that the catalog names in drop and sources.')
param vhdContainers array = [
  'vhds'
  'builds'
]

@description('Object id of a person, group or identity that uploads VHDs, asks for versions and gives verdicts.')
param uploaderPrincipalId string = ''

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
@description('What the uploader is.')
param uploaderPrincipalType string = 'User'

@description('Make an Event Grid topic that tells what became of each run.')
param eventsTopic bool = false

@description('Client id of the Entra application that callers of the HTTP API get tokens for. Where it is given, no call without a token reaches the app.')
param apiClientId string = ''

@description('Whom alerts write to. Nobody, where empty; the alerts are in the portal all the same.')
param alertEmail string = ''

@minValue(1)
@maxValue(23)
@description('Hours of replication after which an alert tells of a run.')
param replicationDeadlineHours int = 6

@description('Put the app into a virtual network of its own and reach storage by private endpoints.')
param privateNetwork bool = false

@description('With a private network: the public addresses and ranges that may still reach the VHD account, such as those of build agents.')
param allowedIps array = []

@description('Also add a blob trigger that Event Grid calls. The queue does without; its webhook is set up by hand (docs/deploy.md).')
param blobTrigger bool = false

@allowed([
  2048
  4096
])
@description('Memory of an instance of the app.')
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
@description('How many instances the app may grow to.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(10)
@description('Instances kept warm for the steps of runs. None, and the first step waits for a cold start of some seconds.')
param alwaysReadyInstances int = 0

@description('Spread the instances of the app over zones, in regions that can.')
param zoneRedundant bool = false

@description('Replication of both storage accounts. Zone redundant ones are not in every region.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param storageSku string = 'Standard_ZRS'

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param logRetentionDays int = 90

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
var makesStaging = empty(stagingGalleryId)
var makesProduction = empty(productionGalleryId)
var imagesGroupName = 'rg-${environmentName}-images'
var stagingId = makesStaging ? '${subscription().id}/resourceGroups/${imagesGroupName}/providers/Microsoft.Compute/galleries/galStaging_${token}' : stagingGalleryId
var productionId = makesProduction ? '${subscription().id}/resourceGroups/${imagesGroupName}/providers/Microsoft.Compute/galleries/galProduction_${token}' : productionGalleryId
// The subscriptions that hold galleries.
var subscriptionIds = union(
  [
    makesStaging ? subscription().subscriptionId : split(stagingGalleryId, '/')[2]
  ],
  [
    makesProduction ? subscription().subscriptionId : split(productionGalleryId, '/')[2]
  ]
)

resource appGroup 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

// Galleries and managed images live apart from the app: the app goes and comes back, published images stay.
resource imagesGroup 'Microsoft.Resources/resourceGroups@2024-03-01' = if (makesStaging || makesProduction) {
  name: imagesGroupName
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: appGroup
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: appGroup
  params: {
    token: token
    location: location
    tags: tags
    retentionDays: logRetentionDays
    appPrincipalId: identity.outputs.principalId
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: appGroup
  params: {
    token: token
    location: location
    tags: tags
  }
}

module appStorage 'modules/app-storage.bicep' = {
  name: 'app-storage'
  scope: appGroup
  params: {
    name: 'st${token}app'
    location: location
    tags: tags
    sku: storageSku
    appPrincipalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
    privateNetwork: privateNetwork
    blobTrigger: blobTrigger
  }
}

module vhdStorage 'modules/vhd-storage.bicep' = {
  name: 'vhd-storage'
  scope: appGroup
  params: {
    name: 'st${token}vhd'
    location: location
    tags: tags
    sku: storageSku
    vhdContainers: vhdContainers
    appPrincipalId: identity.outputs.principalId
    taggerRoleId: roles.outputs.taggerRoleId
    directRoleId: roles.outputs.directRoleId
    directVhd: directVhd
    blobTrigger: blobTrigger
    uploaderPrincipalId: uploaderPrincipalId
    uploaderPrincipalType: uploaderPrincipalType
    workspaceId: monitoring.outputs.workspaceId
    privateNetwork: privateNetwork
    allowedIps: allowedIps
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (privateNetwork) {
  name: 'private-endpoints'
  scope: appGroup
  params: {
    location: location
    tags: tags
    networkName: 'vnet-${token}'
    accounts: [
      appStorage.outputs.name
      vhdStorage.outputs.name
    ]
  }
  dependsOn: [
    network
  ]
}

module uploads 'modules/uploads.bicep' = {
  name: 'uploads'
  scope: appGroup
  params: {
    name: 'evgst-${token}'
    location: location
    tags: tags
    storageName: vhdStorage.outputs.name
    workspaceId: monitoring.outputs.workspaceId
  }
}

module announcements 'modules/announcements.bicep' = if (eventsTopic) {
  name: 'announcements'
  scope: appGroup
  params: {
    name: 'evgt-${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module staging 'modules/gallery.bicep' = if (makesStaging) {
  name: 'gallery-staging'
  scope: imagesGroup
  params: {
    name: 'galStaging_${token}'
    location: location
    tags: tags
    purpose: 'Versions as they are published, before they have proven themselves.'
  }
}

module production 'modules/gallery.bicep' = if (makesProduction) {
  name: 'gallery-production'
  scope: imagesGroup
  params: {
    name: 'galProduction_${token}'
    location: location
    tags: tags
    purpose: 'Versions that were promoted.'
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  params: {
    environmentName: environmentName
    token: token
    publisherScopes: union(
      [
        split(stagingId, '/providers/')[0]
      ],
      [
        split(productionId, '/providers/')[0]
      ]
    )
    sourceScopes: sourceResourceGroupIds
    sourceKinds: sourceKinds
    storageScope: appGroup.id
    directVhd: directVhd
    deletesVhds: deletesVhds
    subscriptionIds: subscriptionIds
  }
  dependsOn: [
    imagesGroup
  ]
}

module operationsAccess 'modules/subscription-access.bicep' = [for (id, i) in subscriptionIds: {
  name: 'access-operations-${i}'
  scope: subscription(id)
  params: {
    roleId: roles.outputs.operationsRoleId
    principalId: identity.outputs.principalId
  }
}]

module stagingAccess 'modules/group-access.bicep' = {
  name: 'access-staging'
  scope: resourceGroup(split(stagingId, '/')[2], split(stagingId, '/')[4])
  params: {
    roleId: roles.outputs.publisherRoleId
    principalId: identity.outputs.principalId
  }
}

// Both galleries may be in one group: the assignment is the same then, by its name too, so one after the other.
module productionAccess 'modules/group-access.bicep' = {
  name: 'access-production'
  scope: resourceGroup(split(productionId, '/')[2], split(productionId, '/')[4])
  params: {
    roleId: roles.outputs.publisherRoleId
    principalId: identity.outputs.principalId
  }
  dependsOn: [
    stagingAccess
  ]
}

module sourceAccess 'modules/group-access.bicep' = [for (id, i) in sourceResourceGroupIds: {
  name: 'access-source-${i}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    roleId: roles.outputs.sourceRoleId
    principalId: identity.outputs.principalId
  }
}]

module functionApp 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: appGroup
  params: {
    name: 'func-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    appStorageName: appStorage.outputs.name
    packageContainer: appStorage.outputs.packageContainer
    vhdStorageName: vhdStorage.outputs.name
    vhdContainer: vhdContainers[0]
    blobTrigger: blobTrigger
    directVhd: directVhd
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    eventsEndpoint: eventsTopic ? announcements!.outputs.endpoint : ''
    apiClientId: apiClientId
    subnetId: privateNetwork ? network!.outputs.functionsSubnetId : ''
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
  }
  dependsOn: [
    privateEndpoints
  ]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: appGroup
  params: {
    token: token
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    systemTopicId: uploads.outputs.systemTopicId
    email: alertEmail
    replicationDeadlineHours: replicationDeadlineHours
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: appGroup
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = appGroup.name
output FUNCTION_APP string = functionApp.outputs.name
output GALLERIST_URL string = functionApp.outputs.url
output GALLERIST_STORAGE string = vhdStorage.outputs.blobEndpoint
output STORAGE_ACCOUNT string = vhdStorage.outputs.name
output STAGING_GALLERY_ID string = stagingId
output PRODUCTION_GALLERY_ID string = productionId
output WORKSPACE_ID string = monitoring.outputs.workspaceId

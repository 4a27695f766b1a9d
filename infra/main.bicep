// Gallerist in one subscription: `azd up` makes all of this and deploys the function app into it.
// infra/README.md tells what each module is for; docs/security.md who may do what, and why.
targetScope = 'subscription'

import {
  actionsOfSources
  directActions
  imageMakerActions
  lockActions
  operationActions
  publisherActions
  taggerDataActions
} from 'modules/roles.bicep'

@minLength(1)
@maxLength(32)
@description('Name of the azd environment. It is in the names and tags of everything.')
param environmentName string

@minLength(1)
@description('The region of the function app, of the VHDs and of the galleries made here. Azure wants VHD and gallery in one.')
param location string

@description('Tags that everything bears which can bear some, resource groups too.')
param tags { *: string } = {}

@description('Resource id of a gallery that exists, to publish into; another subscription of the tenant will do. One is made where this is empty.')
param stagingGalleryId string = ''

@description('Resource id of a gallery that exists, to promote into; another subscription of the tenant will do. One is made where this is empty.')
param productionGalleryId string = ''

@description('Resource groups, by id, whose disks, snapshots, virtual machines, images and gallery versions may be published.')
param sourceResourceGroupIds string[] = []

@description('Which of disk, snapshot and vm may be a source. Azure wants write access to each before it makes a version of it.')
param sourceKinds ('disk' | 'snapshot' | 'vm')[] = []

@description('Let images go directly from a VHD to a version: Arm64 and Specialized ones have no other way. Azure wants listKeys on the VHD account for it.')
param directVhd bool = false

@description('Give the pipeline listKeys on the VHD account without directVhd, should Azure ask for it before it makes a managed image of a VHD.')
param vhdListKeys bool = false

@description('Let retention delete VHDs once they are published, as the catalog may ask. Without it the pipeline can delete none.')
param deletesVhds bool = false

@description('Let retention, and a promotion that failed, delete versions in the production gallery. Without it the pipeline can delete none there.')
param productionRetention bool = false

@description('The containers for VHDs: those that the catalog names in drop and sources.')
param vhdContainers string[] = [
  'vhds'
  'builds'
]

@description('Object id of a person, group or identity that uploads VHDs, and may do nothing else.')
param uploaderPrincipalId string = ''

@description('What the uploader is.')
param uploaderPrincipalType 'User' | 'Group' | 'ServicePrincipal' = 'User'

@description('Object id of a person, group or identity that asks for versions by the queue publish-requests.')
param publisherPrincipalId string = ''

@description('What the publisher is.')
param publisherPrincipalType 'User' | 'Group' | 'ServicePrincipal' = 'User'

@description('Object id of a person, group or identity that gives verdicts by the queue verdicts. Another than the publisher, where verdicts are to count.')
param testerPrincipalId string = ''

@description('What the tester is.')
param testerPrincipalType 'User' | 'Group' | 'ServicePrincipal' = 'User'

@description('Name of the Event Grid system topic that the VHD account has already, where something else made it, as Defender for Storage does. An account has one.')
param systemTopicName string = ''

@description('Make an Event Grid topic that tells what became of each run.')
param eventsTopic bool = false

@description('Serve the HTTP API. Off, the app has no HTTP function at all; queues, events and timers do without.')
param httpApi bool = true

@description('Client id of the Entra application that callers of the HTTP API get tokens for. Where it is given, no call without a token reaches the app, and no key opens anything.')
param apiClientId string = ''

@description('Client ids of the applications that may call with such a token, and no others may. Where none is given, any caller may that gets one.')
param apiCallerClientIds string[] = []

@description('Without apiClientId: the roles whose keys the HTTP API takes. A key names no person: sign in where approvals matter.')
param apiKeyRoles ('reader' | 'publisher' | 'tester' | 'approver' | 'operator')[] = [
  'publisher'
]

@description('Whom alerts write to. Nobody, where empty; the alerts are in the portal all the same.')
param alertEmail string = ''

@minValue(1)
@maxValue(23)
@description('Hours of replication after which an alert tells of a run.')
param replicationDeadlineHours int = 6

@description('Put the app into a virtual network, and reach its own storage account by private endpoints. The VHD account stays open to those who sign in: Azure Compute, which reads the VHDs, passes no storage firewall.')
param privateNetwork bool = false

@description('With privateNetwork: id of a subnet that exists and is delegated to Microsoft.App/environments, for the app to run in. A network is made where this is empty.')
param functionsSubnetId string = ''

@description('With functionsSubnetId: id of a subnet that exists, for the private endpoints.')
param endpointsSubnetId string = ''

@description('With privateNetwork: ids of private DNS zones that exist. Zones are made where none are given.')
param privateDnsZoneIds { blob: string, queue: string, table: string }?

@description('With privateNetwork: register the private endpoints in DNS. Off, where a policy of the company does that.')
param privateDns bool = true

@description('Also add a blob trigger that Event Grid calls. The queue does without; its webhook is set up by hand (docs/deploy.md).')
param blobTrigger bool = false

@description('Memory of an instance of the app.')
param instanceMemoryMB 2048 | 4096 = 2048

@minValue(1)
@maxValue(1000)
@description('How many instances each of the functions may grow to, all HTTP functions together counting as one.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(10)
@description('Instances kept warm for the steps of runs. None, and the first step waits for a cold start of some seconds.')
param alwaysReadyInstances int = 0

@description('Spread the instances of the app over zones, in regions that can. Azure then keeps two instances of each function warm: docs/cost.md.')
param zoneRedundant bool = false

@description('How instances change to what was deployed. Empty: as Azure does by default, which is Recreate, and ends what is under way. RollingUpdate, a preview, lets it finish.')
param siteUpdateStrategy '' | 'Recreate' | 'RollingUpdate' = ''

@description('Replication of both storage accounts. Zone redundant ones are not in every region.')
param storageSku 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS' = 'Standard_ZRS'

@description('API versions to ask Azure Resource Manager with, where other than the code has them: of galleries, of managed images and virtual machines, of disks and snapshots.')
param apiVersions { gallery: string?, compute: string?, disk: string? } = {}

@description('Log who reads blobs, messages and rows of the VHD account too. Writes and deletes are logged either way.')
param logReads bool = false

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param logRetentionDays int = 90

func partOf(id string, n int) string => toLower(split(id, '/')[?n] ?? '')

func isGroup(id string) bool =>
  length(split(id, '/')) == 5 && partOf(id, 1) == 'subscriptions' && isGuid(partOf(id, 2)) && partOf(id, 3) == 'resourcegroups' && !empty(partOf(
    id,
    4
  ))

func isGallery(id string) bool =>
  length(split(id, '/')) == 9 && isGroup(groupOf(id)) && partOf(id, 6) == 'microsoft.compute' && partOf(id, 7) == 'galleries' && !empty(partOf(
    id,
    8
  ))

func isGuid(text string) bool =>
  length(text) == 36 && length(split(text, '-')) == 5 && madeOf(toLower(text), '0123456789abcdef-')

func madeOf(text string, letters string) bool =>
  empty(filter(range(0, length(text)), i => !contains(letters, substring(text, i, 1))))

func isContainer(name string) bool =>
  length(name) >= 3 && length(name) <= 63 && madeOf(name, 'abcdefghijklmnopqrstuvwxyz0123456789-') && !startsWith(
    name,
    '-'
  ) && !endsWith(name, '-') && !contains(name, '--')

func objectIdFault(name string, id string) string =>
  empty(id) || isGuid(id)
    ? ''
    : '${name}: ${id} is not an object id, such as az ad signed-in-user show --query id prints'

// The id of the resource group that a resource is in. In lower case, so that one group spelt twice is one.
func groupOf(id string) string => toLower(split(id, '/providers/')[0])

// Each names the parameter and what mends it. A deployment with one is refused before anything is made.
var galleryForm = 'is not the resource id of a gallery: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Compute/galleries/NAME'
var reserved = [
  'rejected'
  'dead-letter'
]
var faults = filter(
  concat(
    [
      empty(stagingGalleryId) || isGallery(stagingGalleryId)
        ? ''
        : 'stagingGalleryId: ${stagingGalleryId} ${galleryForm}'
      empty(productionGalleryId) || isGallery(productionGalleryId)
        ? ''
        : 'productionGalleryId: ${productionGalleryId} ${galleryForm}'
      !empty(stagingGalleryId) && toLower(stagingGalleryId) == toLower(productionGalleryId)
        ? 'productionGalleryId: is stagingGalleryId; promotion wants a gallery of its own'
        : ''
      !empty(sourceKinds) && empty(sourceResourceGroupIds)
        ? 'sourceKinds: give sourceResourceGroupIds with it, the resource groups that these may be in'
        : ''
      empty(vhdContainers) ? 'vhdContainers: name at least one, a container that VHDs are uploaded to' : ''
      length(union(vhdContainers, vhdContainers)) == length(vhdContainers)
        ? ''
        : 'vhdContainers: names one container twice'
      objectIdFault('uploaderPrincipalId', uploaderPrincipalId)
      objectIdFault('publisherPrincipalId', publisherPrincipalId)
      objectIdFault('testerPrincipalId', testerPrincipalId)
      empty(apiClientId) || isGuid(apiClientId)
        ? ''
        : 'apiClientId: ${apiClientId} is not the client id of an application'
      !empty(apiCallerClientIds) && empty(apiClientId)
        ? 'apiCallerClientIds: give apiClientId with it, the application that they get tokens for'
        : ''
      empty(alertEmail) || contains(alertEmail, '@') ? '' : 'alertEmail: ${alertEmail} is not an email address'
      !privateNetwork && !(empty(functionsSubnetId) && empty(endpointsSubnetId) && privateDnsZoneIds == null && privateDns)
        ? 'privateNetwork: set it to true, or leave functionsSubnetId, endpointsSubnetId, privateDnsZoneIds and privateDns out'
        : ''
      empty(functionsSubnetId) == empty(endpointsSubnetId)
        ? ''
        : 'functionsSubnetId, endpointsSubnetId: give both, subnets of one network, or neither'
      empty(functionsSubnetId) || partOf(functionsSubnetId, 9) == 'subnets'
        ? ''
        : 'functionsSubnetId: ${functionsSubnetId} is not the resource id of a subnet'
      empty(endpointsSubnetId) || partOf(endpointsSubnetId, 9) == 'subnets'
        ? ''
        : 'endpointsSubnetId: ${endpointsSubnetId} is not the resource id of a subnet'
      !privateDns && privateDnsZoneIds != null
        ? 'privateDnsZoneIds: leave it out, or set privateDns to true: without it nothing is registered there'
        : ''
      zoneRedundant && !endsWith(storageSku, 'ZRS')
        ? 'zoneRedundant: set storageSku to Standard_ZRS or Standard_GZRS with it; Azure wants the app\'s own storage in all zones'
        : ''
    ],
    map(
      filter(sourceResourceGroupIds, id => !isGroup(id)),
      id => 'sourceResourceGroupIds: ${id} is not the id of a resource group: /subscriptions/ID/resourceGroups/NAME'
    ),
    map(
      filter(vhdContainers, name => contains(reserved, name)),
      name => 'vhdContainers: ${name} is kept for what could not be taken; name another container'
    ),
    map(
      filter(vhdContainers, name => !isContainer(name)),
      name => 'vhdContainers: ${name} is not the name of a container: 3 to 63 small letters, digits and single hyphens'
    ),
    map(
      filter(apiCallerClientIds, id => !isGuid(id)),
      id => 'apiCallerClientIds: ${id} is not the client id of an application'
    )
  ),
  fault => !empty(fault)
)

var token = empty(faults)
  ? toLower(uniqueString(subscription().id, environmentName, location))
  : fail('Nothing was deployed. ${join(faults, '. ')}.')
var allTags = union(tags, {
  'azd-env-name': environmentName
})
var makesStaging = empty(stagingGalleryId)
var makesProduction = empty(productionGalleryId)
var imagesGroupName = 'rg-${environmentName}-images'
var imagesGroupId = '${subscription().id}/resourceGroups/${imagesGroupName}'
var stagingId = makesStaging
  ? '${imagesGroupId}/providers/Microsoft.Compute/galleries/galStaging_${token}'
  : stagingGalleryId
var productionId = makesProduction
  ? '${imagesGroupId}/providers/Microsoft.Compute/galleries/galProduction_${token}'
  : productionGalleryId
// Each group and each subscription once, however often it is named: a role is made and assigned there once.
var galleryIds = [
  stagingId
  productionId
]
var galleryGroupIds = union([groupOf(stagingId)], [groupOf(productionId)])
var sourceGroupIds = union(map(sourceResourceGroupIds, id => toLower(id)), [])
var subscriptionIds = union([toLower(subscription().subscriptionId)], [partOf(stagingId, 2)], [partOf(productionId, 2)])
var mayListKeys = directVhd || vhdListKeys
// What each custom role is known by, to Azure and to what takes away those that are not in use.
var taggerRoleName = guid(subscription().id, token, 'tagger')
var directRoleName = guid(subscription().id, token, 'direct')
var imageMakerRoleName = guid(imagesGroupId, token, 'image-maker')
var operationsRoleNames = map(subscriptionIds, id => guid(id, token, 'operations'))
var publisherRoleNames = map(galleryIds, id => guid(toLower(id), token, 'publisher'))
var lockRoleNames = map(galleryGroupIds, id => guid(id, token, 'locks'))
var sourceRoleNames = map(sourceGroupIds, id => guid(id, token, 'source'))
var appStorageName = 'st${token}app'
var vhdStorageName = 'st${token}vhd'
var packageContainer = 'app-package'
var applicationInsightsName = 'appi-${token}'
var makesNetwork = privateNetwork && empty(functionsSubnetId)
var networkId = '${appGroup.id}/providers/Microsoft.Network/virtualNetworks/vnet-${token}'

resource appGroup 'Microsoft.Resources/resourceGroups@2025-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: allTags
}

// Managed images, and the galleries made here, live apart from the app: the app goes and comes back, published images
// stay. Azure makes a managed image of a VHD only in the subscription of its account, so this group is always in it.
resource imagesGroup 'Microsoft.Resources/resourceGroups@2025-03-01' = {
  name: imagesGroupName
  location: location
  tags: allTags
}

module identity 'modules/identity.bicep' = {
  scope: appGroup
  params: {
    name: 'id-${token}'
    location: location
    tags: allTags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: appGroup
  params: {
    token: token
    applicationInsightsName: applicationInsightsName
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    appPrincipalId: identity.outputs.principalId
  }
}

module network 'modules/network.bicep' = if (makesNetwork) {
  scope: appGroup
  params: {
    token: token
    location: location
    tags: allTags
  }
}

module appStorage 'modules/app-storage.bicep' = {
  scope: appGroup
  params: {
    name: appStorageName
    packageContainer: packageContainer
    location: location
    tags: allTags
    sku: storageSku
    appPrincipalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
    privateNetwork: privateNetwork
    blobTrigger: blobTrigger
  }
}

// Built-in roles let write tags only those who may also write and delete blobs, or their owner.
module taggerRole 'modules/role.bicep' = {
  params: {
    name: taggerRoleName
    roleName: 'Gallerist VHD reader and tagger (${environmentName}-${token})'
    roleDescription: 'Reads blobs, and finds and sets their index tags; writes none.'
    dataActions: taggerDataActions(deletesVhds)
    assignableScope: appGroup.id
  }
}

module directRole 'modules/role.bicep' = if (mayListKeys) {
  params: {
    name: directRoleName
    roleName: 'Gallerist direct VHD (${environmentName}-${token})'
    roleDescription: 'What Azure asks of whoever makes a version directly from a VHD. The account refuses its keys all the same.'
    actions: directActions
    assignableScope: appGroup.id
  }
}

module vhdStorage 'modules/vhd-storage.bicep' = {
  scope: appGroup
  params: {
    name: vhdStorageName
    location: location
    tags: allTags
    sku: storageSku
    vhdContainers: vhdContainers
    appPrincipalId: identity.outputs.principalId
    taggerRoleId: taggerRole.outputs.id
    directRoleId: mayListKeys ? directRole!.outputs.id : ''
    blobTrigger: blobTrigger
    uploaderPrincipalId: uploaderPrincipalId
    uploaderPrincipalType: uploaderPrincipalType
    publisherPrincipalId: publisherPrincipalId
    publisherPrincipalType: publisherPrincipalType
    testerPrincipalId: testerPrincipalId
    testerPrincipalType: testerPrincipalType
    logReads: logReads
    workspaceId: monitoring.outputs.workspaceId
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (privateNetwork) {
  scope: appGroup
  params: {
    location: location
    tags: allTags
    subnetId: makesNetwork ? '${networkId}/subnets/endpoints' : endpointsSubnetId
    storageName: appStorageName
    registers: privateDns
    zoneIds: privateDnsZoneIds
  }
  dependsOn: [
    appStorage
    network
  ]
}

module systemTopic 'modules/system-topic.bicep' = {
  scope: appGroup
  params: {
    name: empty(systemTopicName) ? 'evgst-${token}' : systemTopicName
    location: location
    tags: allTags
    storageName: vhdStorageName
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [
    privateEndpoints
    vhdStorage
  ]
}

module uploadAccess 'modules/upload-access.bicep' = {
  scope: appGroup
  params: {
    storageName: vhdStorageName
    topicPrincipalId: systemTopic.outputs.principalId
  }
}

// Event Grid tries its rights on the dead-letter container when a subscription is saved, and Azure heeds a new role
// assignment only after a while. So this comes last: the app is made in between.
module uploads 'modules/uploads.bicep' = {
  scope: appGroup
  params: {
    topicName: systemTopic.outputs.name
    storageName: vhdStorageName
  }
  dependsOn: [
    alerts
    functionApp
    uploadAccess
  ]
}

module announcements 'modules/announcements.bicep' = if (eventsTopic) {
  scope: appGroup
  params: {
    name: 'evgt-${token}'
    location: location
    tags: allTags
    appPrincipalId: identity.outputs.principalId
  }
}

module staging 'modules/gallery.bicep' = if (makesStaging) {
  scope: imagesGroup
  params: {
    name: 'galStaging_${token}'
    location: location
    tags: allTags
    purpose: 'Versions as they are published, before they have proven themselves.'
  }
}

module production 'modules/gallery.bicep' = if (makesProduction) {
  scope: imagesGroup
  params: {
    name: 'galProduction_${token}'
    location: location
    tags: allTags
    purpose: 'Versions that were promoted.'
  }
}

// One role a scope, made in the subscription of that scope: Azure takes no scope out of a role that is assigned there.
module operationsAccess 'modules/role-on-subscription.bicep' = [
  for (id, i) in subscriptionIds: {
    scope: subscription(id)
    params: {
      name: operationsRoleNames[i]
      roleName: 'Gallerist operation status of ${id} (${environmentName}-${token})'
      roleDescription: 'Reads what became of operations of Microsoft.Compute.'
      actions: operationActions
      principalId: identity.outputs.principalId
    }
  }
]

module imageMakerAccess 'modules/role-on-group.bicep' = {
  params: {
    name: imageMakerRoleName
    roleName: 'Gallerist image maker of ${imagesGroupName} (${environmentName}-${token})'
    roleDescription: 'Makes managed images of VHDs, and takes its own away.'
    actions: imageMakerActions
    groupName: imagesGroup.name
    principalId: identity.outputs.principalId
  }
}

module galleryAccess 'modules/role-on-gallery.bicep' = [
  for (id, i) in galleryIds: {
    scope: subscription(partOf(id, 2))
    params: {
      name: publisherRoleNames[i]
      roleName: 'Gallerist publisher of ${partOf(id, 8)} in ${partOf(id, 2)} (${environmentName}-${token})'
      roleDescription: 'Makes image definitions and image versions in one gallery.'
      actions: publisherActions(id == stagingId || productionRetention)
      groupName: partOf(id, 4)
      galleryName: partOf(id, 8)
      principalId: identity.outputs.principalId
    }
    dependsOn: [
      production
      staging
    ]
  }
]

module lockAccess 'modules/role-on-group.bicep' = [
  for (id, i) in galleryGroupIds: {
    scope: subscription(partOf(id, 2))
    params: {
      name: lockRoleNames[i]
      roleName: 'Gallerist lock reader of ${partOf(id, 4)} in ${partOf(id, 2)} (${environmentName}-${token})'
      roleDescription: 'Reads which locks are on a gallery and on its group, so that retention heeds them.'
      actions: lockActions
      groupName: partOf(id, 4)
      principalId: identity.outputs.principalId
    }
    dependsOn: [
      imagesGroup
    ]
  }
]

module sourceAccess 'modules/role-on-group.bicep' = [
  for (id, i) in sourceGroupIds: {
    scope: subscription(partOf(id, 2))
    params: {
      name: sourceRoleNames[i]
      roleName: 'Gallerist source of ${partOf(id, 4)} in ${partOf(id, 2)} (${environmentName}-${token})'
      roleDescription: 'Makes versions of disks, snapshots, virtual machines, images and gallery versions.'
      actions: actionsOfSources(sourceKinds)
      groupName: partOf(id, 4)
      principalId: identity.outputs.principalId
    }
  }
]

module functionApp 'modules/function-app.bicep' = {
  scope: appGroup
  params: {
    name: 'func-${token}'
    location: location
    tags: allTags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    appStorageName: appStorageName
    packageContainer: packageContainer
    vhdStorageName: vhdStorageName
    vhdContainer: vhdContainers[?0] ?? ''
    managedImageGroupId: imagesGroup.id
    blobTrigger: blobTrigger
    directVhd: directVhd
    applicationInsightsName: applicationInsightsName
    tellsEvents: eventsTopic
    eventsEndpoint: eventsTopic ? announcements!.outputs.endpoint : ''
    httpApi: httpApi
    apiClientId: apiClientId
    apiCallerClientIds: apiCallerClientIds
    apiKeyRoles: apiKeyRoles
    apiVersions: apiVersions
    subnetId: makesNetwork ? '${networkId}/subnets/functions' : functionsSubnetId
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
    siteUpdateStrategy: siteUpdateStrategy
  }
  dependsOn: [
    appStorage
    monitoring
    network
    privateEndpoints
    vhdStorage
  ]
}

module alerts 'modules/alerts.bicep' = {
  scope: appGroup
  params: {
    token: token
    location: location
    tags: allTags
    workspaceId: monitoring.outputs.workspaceId
    systemTopicId: systemTopic.outputs.id
    email: alertEmail
    replicationDeadlineHours: replicationDeadlineHours
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: appGroup
  params: {
    location: location
    tags: allTags
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
output VHD_STORAGE_ACCOUNT_ID string = '${appGroup.id}/providers/Microsoft.Storage/storageAccounts/${vhdStorageName}'
output MANAGED_IMAGE_GROUP_ID string = imagesGroup.id
output WORKSPACE_ID string = monitoring.outputs.workspaceId
output API_KEY_ROLES string = join(apiKeyRoles, ',')

// What infra/remove-unused.sh goes by: what this deployment has no more, it takes away.
output NAMES_END_WITH string = token
output ROLE_NAMES_END_WITH string = '(${environmentName}-${token})'
output PIPELINE_PRINCIPAL_ID string = identity.outputs.principalId
output TOPIC_PRINCIPAL_ID string = systemTopic.outputs.principalId
output OPTIONS_ON string[] = concat(
  blobTrigger ? ['blobTrigger'] : [],
  eventsTopic ? ['eventsTopic'] : [],
  makesNetwork ? ['network'] : [],
  privateNetwork ? ['privateNetwork'] : [],
  privateNetwork && privateDns && privateDnsZoneIds == null ? ['privateDnsZones'] : [],
  empty(alertEmail) ? [] : ['alertEmail']
)
output UPLOADER_IN_USE string = uploaderPrincipalId
output PUBLISHER_IN_USE string = publisherPrincipalId
output TESTER_IN_USE string = testerPrincipalId
output VHD_CONTAINERS string[] = vhdContainers
output ALERTS_IN_USE string[] = alerts.outputs.names
output ROLES_IN_USE string[] = concat(
  [taggerRoleName, imageMakerRoleName],
  mayListKeys ? [directRoleName] : [],
  operationsRoleNames,
  publisherRoleNames,
  lockRoleNames,
  sourceRoleNames
)

// The pipeline's rights at Resource Manager and on VHDs, as roles of its own: what the code calls, and nothing else.
// tests/infra compares them with the code and with what the sandbox was asked.
targetScope = 'subscription'

param environmentName string
param token string
param publisherScopes array
param sourceScopes array
param sourceKinds array
param storageScope string
param directVhd bool
param deletesVhds bool
param subscriptionIds array

// Azure looks for write, not read, on a disk, snapshot or VM that a version is made of ("Store and share images in an
// Azure Compute Gallery", permissions). So each kind is asked for by name.
var readableSources = [
  'Microsoft.Compute/disks/read'
  'Microsoft.Compute/snapshots/read'
  'Microsoft.Compute/virtualMachines/read'
  'Microsoft.Compute/images/read'
  'Microsoft.Compute/galleries/images/read'
  'Microsoft.Compute/galleries/images/versions/read'
]
var diskSources = [
  'Microsoft.Compute/disks/write'
]
var snapshotSources = [
  'Microsoft.Compute/snapshots/write'
]
var vmSources = [
  'Microsoft.Compute/virtualMachines/write'
]

resource publisher 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'publisher')
  properties: {
    roleName: 'Gallerist publisher (${environmentName}-${token})'
    description: 'Makes image definitions, managed images and image versions, and takes its own away.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/images/read'
          'Microsoft.Compute/images/write'
          'Microsoft.Compute/images/delete'
          'Microsoft.Compute/galleries/images/read'
          'Microsoft.Compute/galleries/images/write'
          'Microsoft.Compute/galleries/images/versions/read'
          'Microsoft.Compute/galleries/images/versions/write'
          'Microsoft.Compute/galleries/images/versions/delete'
          'Microsoft.Authorization/locks/read'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: publisherScopes
  }
}

resource source 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!empty(sourceScopes)) {
  name: guid(subscription().id, token, 'source')
  properties: {
    roleName: 'Gallerist source (${environmentName}-${token})'
    description: 'Makes versions of disks, snapshots, virtual machines, images and gallery versions.'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(
          readableSources,
          contains(sourceKinds, 'disk') ? diskSources : [],
          contains(sourceKinds, 'snapshot') ? snapshotSources : [],
          contains(sourceKinds, 'vm') ? vmSources : []
        )
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: sourceScopes
  }
}

// Built-in roles let write tags only those who may also write and delete blobs, or their owner.
resource tagger 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'tagger')
  properties: {
    roleName: 'Gallerist VHD reader and tagger (${environmentName}-${token})'
    description: 'Reads blobs, and finds and sets their index tags; writes none.'
    type: 'CustomRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: concat(
          [
            'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
            'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/filter/action'
            'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read'
            'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write'
          ],
          deletesVhds ? [
            'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
          ] : []
        )
        notDataActions: []
      }
    ]
    assignableScopes: [
      storageScope
    ]
  }
}

resource direct 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (directVhd) {
  name: guid(subscription().id, token, 'direct')
  properties: {
    roleName: 'Gallerist direct VHD (${environmentName}-${token})'
    description: 'What Azure asks of whoever makes a version directly from a VHD. The account refuses its keys all the same.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/read'
          'Microsoft.Storage/storageAccounts/listKeys/action'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [
      storageScope
    ]
  }
}

// The status of an operation, the only place where Azure says why one failed, has its address under the subscription
// and not under a resource group. This role reads such statuses, and nothing else.
resource operations 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, token, 'operations')
  properties: {
    roleName: 'Gallerist operation status (${environmentName}-${token})'
    description: 'Reads what became of operations of Microsoft.Compute.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/locations/operations/read'
          'Microsoft.Compute/locations/capsOperations/read'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [for id in subscriptionIds: '/subscriptions/${id}']
  }
}

output publisherRoleId string = publisher.id
output sourceRoleId string = empty(sourceScopes) ? '' : source.id
output taggerRoleId string = tagger.id
output directRoleId string = directVhd ? direct.id : ''
output operationsRoleId string = operations.id

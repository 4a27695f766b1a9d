// The pipeline's account: VHDs, the queues between its steps, and the tables that remember runs and versions.
param name string
param location string
param tags { *: string }
param sku string
param vhdContainers string[]
param appPrincipalId string
param taggerRoleId string
param directRoleId string
param blobTrigger bool
param uploaderPrincipalId string
param uploaderPrincipalType 'User' | 'Group' | 'ServicePrincipal'
param publisherPrincipalId string
param publisherPrincipalType 'User' | 'Group' | 'ServicePrincipal'
param testerPrincipalId string
param testerPrincipalType 'User' | 'Group' | 'ServicePrincipal'
param logReads bool
param workspaceId string

var queues = [
  'vhd-uploads'
  'publish-requests'
  'run-steps'
  'verdicts'
]
var tables = [
  'runs'
  'ledger'
  'sources'
  'holds'
  'audit'
  'judgements'
]
// Kept by the pipeline (what could not be taken) and by Event Grid (what could not be delivered).
var keptContainers = [
  'rejected'
  'dead-letter'
]
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var queueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var hasUploader = !empty(uploaderPrincipalId)
// Each its own queue and no other: who asks for a version gives it no verdict.
var senders = filter(
  [
    {
      queue: 'publish-requests'
      principalId: publisherPrincipalId
      principalType: publisherPrincipalType
      why: 'Asks for versions'
    }
    {
      queue: 'verdicts'
      principalId: testerPrincipalId
      principalType: testerPrincipalType
      why: 'Gives verdicts'
    }
  ],
  sender => !empty(sender.principalId)
)
// Off is said too, so that reads are no longer logged once logReads is off again.
var logged = [
  {
    category: 'StorageWrite'
    enabled: true
  }
  {
    category: 'StorageDelete'
    enabled: true
  }
  {
    category: 'StorageRead'
    enabled: logReads
  }
]

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Open to whoever signs in, with a private network too: Azure Compute reads the VHDs itself, and is none of the
    // services that a storage firewall lets through ("Trusted Azure services", Azure Storage).
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
    sasPolicy: {
      expirationAction: 'Log'
      sasExpirationPeriod: '00.01:00:00'
    }
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: {
          enabled: true
        }
        queue: {
          enabled: true
          keyType: 'Account'
        }
        table: {
          enabled: true
          keyType: 'Account'
        }
      }
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [
  for container in vhdContainers: {
    parent: blobs
    name: container
    properties: {
      publicAccess: 'None'
    }
  }
]

resource kept 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [
  for container in keptContainers: {
    parent: blobs
    name: container
    properties: {
      publicAccess: 'None'
    }
  }
]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource workQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = [
  for queue in queues: {
    parent: queueService
    name: queue
  }
]

// The Functions host puts here what failed as often as it may.
resource poisonQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = [
  for queue in queues: {
    parent: queueService
    name: '${queue}-poison'
  }
]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource storedTables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = [
  for table in tables: {
    parent: tableService
    name: table
  }
]

// Azure deletes no page blobs by policy: VHDs are for retention (docs/operate.md). This is for the rest.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'forget-what-was-not-taken'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'rejected/'
                'dead-letter/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: 90
                }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [
    blobs
  ]
}

// The pipeline reads VHDs and sets their index tags. It cannot write one, nor delete one unless deletesVhds says so.
resource appMayTag 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, taggerRoleId)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: taggerRoleId
    description: 'Reads VHDs, a few KiB of each, and marks them with index tags'
  }
}

resource appMayKeep 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, 'rejected', appPrincipalId, blobDataContributor)
  scope: kept[indexOf(keptContainers, 'rejected')]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    description: 'Keeps messages that cannot be taken'
  }
}

resource appMayQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, queueDataContributor)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
    description: 'Takes messages, sends the next step, puts poison aside'
  }
}

resource appMayRemember 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, tableDataContributor)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)
    description: 'Runs, ledger, sources, holds, audit and judgements'
  }
}

resource appMayTrigger 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (blobTrigger) {
  name: guid(account.id, appPrincipalId, blobDataOwner)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
    description: 'What the blob trigger asks for'
  }
}

resource appMayGoDirect 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(directRoleId)) {
  name: guid(account.id, appPrincipalId, directRoleId)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: directRoleId
    description: 'Azure wants it of whoever makes a version directly from a VHD'
  }
}

resource uploaderMayWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (container, i) in (hasUploader ? vhdContainers : []): {
    name: guid(account.id, container, uploaderPrincipalId, blobDataContributor)
    scope: containers[i]
    properties: {
      principalId: uploaderPrincipalId
      principalType: uploaderPrincipalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
      description: 'Uploads VHDs'
    }
  }
]

resource senderMayAsk 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for sender in senders: {
    name: guid(account.id, sender.queue, sender.principalId, queueDataMessageSender)
    scope: workQueues[indexOf(queues, sender.queue)]
    properties: {
      principalId: sender.principalId
      principalType: sender.principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataMessageSender)
      description: sender.why
    }
  }
]

// Who wrote or deleted a VHD, a message or a row, and what went to a poison queue, of which an alert tells.
#disable-next-line use-recent-api-versions // the newest one that diagnostic settings of this shape have
resource blobLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'access'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: logged
  }
}

#disable-next-line use-recent-api-versions // the newest one that diagnostic settings of this shape have
resource queueLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'access'
  scope: queueService
  properties: {
    workspaceId: workspaceId
    logs: logged
  }
}

#disable-next-line use-recent-api-versions // the newest one that diagnostic settings of this shape have
resource tableLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'access'
  scope: tableService
  properties: {
    workspaceId: workspaceId
    logs: logged
  }
}

output name string = account.name
output blobEndpoint string = 'https://${account.name}.blob.${environment().suffixes.storage}'

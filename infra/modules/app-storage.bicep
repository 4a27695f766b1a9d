// The Functions host's own account: its leases and timers, its keys, and the package it runs.
param name string
param packageContainer string
param location string
param tags { *: string }
param sku string
param appPrincipalId string
param workspaceId string
param privateNetwork bool
param blobTrigger bool

// Microsoft's page on identity-based connections asks for Blob Data Owner on the host's account. The table takes
// diagnostic events. Only a blob trigger keeps a queue here.
var roles = union(
  [
    {
      id: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
      why: 'Leases, timers, keys and the package of the Functions host'
    }
    {
      id: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
      why: 'Diagnostic events of the Functions host'
    }
  ],
  blobTrigger
    ? [
        {
          id: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
          why: 'The queue of the blob trigger'
        }
      ]
    : []
)

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
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
    }
    // Keys and account SAS are refused. Policies of companies ask all the same that a SAS would not live for ever.
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

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: packageContainer
  properties: {
    publicAccess: 'None'
  }
}

resource hostMay 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(account.id, appPrincipalId, role.id)
    scope: account
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.id)
      description: role.why
    }
  }
]

#disable-next-line use-recent-api-versions // the newest one that diagnostic settings of this shape have
resource blobLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'writes'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

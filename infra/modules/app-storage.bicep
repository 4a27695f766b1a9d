// The Functions host's own account: its leases and timers, its keys, and the package it runs.
param name string
param location string
param tags object
param sku string
param appPrincipalId string
param workspaceId string
param privateNetwork bool
param blobTrigger bool

var packageContainerName = 'app-package'

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
  blobTrigger ? [
    {
      id: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
      why: 'The queue of the blob trigger'
    }
  ] : []
)

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35: denied with privateNetwork; without one there is no network to allow, and every call signs in
  // checkov:skip=CKV_AZURE_206: the sku is a parameter, Standard_ZRS where nobody says otherwise
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

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
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

resource packageContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: packageContainerName
  properties: {
    publicAccess: 'None'
  }
}

resource hostMay 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in roles: {
  name: guid(account.id, appPrincipalId, role.id)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.id)
    description: role.why
  }
}]

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

output name string = account.name
output packageContainer string = packageContainer.name

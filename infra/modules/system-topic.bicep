// The topic by which Event Grid tells of what happens in the VHD account. Its identity is system-assigned, since only
// that one passes a storage firewall. Where the account has a topic already, this takes it over as it is named.
param name string
param location string
param tags { *: string }
param storageName string
param workspaceId string

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: storage.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

#disable-next-line use-recent-api-versions // the newest one that diagnostic settings of this shape have
resource topicLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'failures'
  scope: topic
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'DeliveryFailures'
        enabled: true
      }
    ]
  }
}

output id string = topic.id
output name string = topic.name
output principalId string = topic.identity.principalId

// A storage account inside the network: an endpoint for each of its services, and the names that lead there.
param location string
param tags { *: string }
param subnetId string
param storageName string

@description('Whether the endpoints are registered in DNS.')
param registers bool

@description('Zones that exist; they are made where none are given.')
param zoneIds { blob: string, queue: string, table: string }?

var services = [
  'blob'
  'queue'
  'table'
]
var makesZones = registers && zoneIds == null
var networkName = split(subnetId, '/')[?8] ?? ''

resource network 'Microsoft.Network/virtualNetworks@2025-01-01' existing = {
  name: networkName
  scope: resourceGroup(split(subnetId, '/')[?2] ?? '', split(subnetId, '/')[?4] ?? '')
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for service in services: if (makesZones) {
    name: 'privatelink.${service}.${environment().suffixes.storage}'
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (service, i) in services: if (makesZones) {
    parent: zones[i]
    name: networkName
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: network.id
      }
    }
  }
]

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageName
}

// One after the other: an account takes one change at a time (StorageAccountOperationInProgress).
@batchSize(1)
resource endpoints 'Microsoft.Network/privateEndpoints@2025-01-01' = [
  for service in services: {
    name: 'pe-${storageName}-${service}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: subnetId
      }
      privateLinkServiceConnections: [
        {
          name: service
          properties: {
            privateLinkServiceId: storage.id
            groupIds: [
              service
            ]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-01-01' = [
  for (service, i) in services: if (registers) {
    parent: endpoints[i]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service
          properties: {
            privateDnsZoneId: zoneIds == null ? zones[i].id : zoneIds![?service]
          }
        }
      ]
    }
  }
]

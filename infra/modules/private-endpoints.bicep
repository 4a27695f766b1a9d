// The storage accounts inside the network: an endpoint for each service of each account, and the names that lead there.
param location string
param tags object
param networkName string
param accounts array

var services = [
  'blob'
  'queue'
  'table'
]

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: networkName
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for service in services: {
  name: 'privatelink.${service}.${environment().suffixes.storage}'
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (service, i) in services: {
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
}]

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = [for account in accounts: {
  name: account
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [for n in range(0, length(accounts) * length(services)): {
  name: 'pe-${accounts[n / length(services)]}-${services[n % length(services)]}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: '${network.id}/subnets/endpoints'
    }
    privateLinkServiceConnections: [
      {
        name: services[n % length(services)]
        properties: {
          privateLinkServiceId: storage[n / length(services)].id
          groupIds: array(services[n % length(services)])
        }
      }
    ]
  }
}]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for n in range(0, length(accounts) * length(services)): {
  parent: endpoints[n]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: services[n % length(services)]
        properties: {
          privateDnsZoneId: zones[n % length(services)].id
        }
      }
    ]
  }
}]

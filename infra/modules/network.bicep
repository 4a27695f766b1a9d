// A network for the app alone: one subnet it runs in, one for the private endpoints of its storage.
param token string
param location string
param tags { *: string }

// Nothing calls into either subnet: the app is called at its public name, and calls out itself.
resource functionsRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = {
  name: 'nsg-functions-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: []
  }
}

resource endpointsRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = {
  name: 'nsg-endpoints-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'https-from-the-app'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: '10.80.0.0/24'
          sourcePortRange: '*'
          destinationAddressPrefix: '10.80.1.0/24'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-01-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.80.0.0/23'
      ]
    }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.80.0.0/24'
          defaultOutboundAccess: false // the platform gives a delegated subnet its way out
          networkSecurityGroup: {
            id: functionsRules.id
          }
          // What Flex Consumption asks for.
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.80.1.0/24'
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: endpointsRules.id
          }
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
        }
      }
    ]
  }
}

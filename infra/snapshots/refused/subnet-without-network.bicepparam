// refused: privateNetwork: set it to true
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param functionsSubnetId = '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet-spoke/subnets/functions'
param endpointsSubnetId = '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet-spoke/subnets/endpoints'

// refused: functionsSubnetId, endpointsSubnetId: give both
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param privateNetwork = true
param functionsSubnetId = '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet-spoke/subnets/functions'

using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param tags = {
  'cost-center': '4711'
  owner: 'images'
}

using '../main.bicep'

// What `azd up` deploys where nothing else is said.
param environmentName = 'prod'
param location = 'westeurope'

using '../main.bicep'

// A policy of the company registers private endpoints.
param environmentName = 'prod'
param location = 'westeurope'
param privateNetwork = true
param privateDns = false

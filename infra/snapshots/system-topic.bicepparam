using '../main.bicep'

// The VHD account has a topic already.
param environmentName = 'prod'
param location = 'westeurope'
param systemTopicName = 'defender-topic'

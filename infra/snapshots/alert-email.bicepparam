using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param alertEmail = 'images@example.com'
param replicationDeadlineHours = 12

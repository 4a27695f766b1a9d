using '../main.bicep'

// The staging gallery is made, the production one exists in another subscription.
param environmentName = 'prod'
param location = 'westeurope'
param productionGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galProduction'

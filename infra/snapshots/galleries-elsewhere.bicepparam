using '../main.bicep'

// Both galleries exist, in one group of another subscription.
param environmentName = 'prod'
param location = 'westeurope'
param stagingGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galStaging'
param productionGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/RG-Images/providers/Microsoft.Compute/galleries/galProduction'

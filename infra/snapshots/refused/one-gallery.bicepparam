// refused: productionGalleryId: is stagingGalleryId
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param stagingGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galImages'
param productionGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images/providers/Microsoft.Compute/galleries/galimages'

// refused: productionGalleryId: /subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images is not the resource id of a gallery
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param productionGalleryId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/rg-images'

// refused: stagingGalleryId: galStaging is not the resource id of a gallery
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param stagingGalleryId = 'galStaging'

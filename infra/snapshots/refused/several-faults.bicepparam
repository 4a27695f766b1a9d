// refused: stagingGalleryId: /subscriptions/x is not the resource id of a gallery
// refused: apiClientId: x is not the client id of an application
// refused: alertEmail: nobody is not an email address
using '../../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param apiClientId = 'x'
param alertEmail = 'nobody'
param stagingGalleryId = '/subscriptions/x'

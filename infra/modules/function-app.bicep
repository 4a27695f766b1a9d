// The function app, on Flex Consumption. No setting holds a secret: all that it reaches, it reaches as its identity.
param name string
param location string
param tags { *: string }
param identityId string
param identityClientId string
param appStorageName string
param packageContainer string
param vhdStorageName string
param vhdContainer string
param managedImageGroupId string
param blobTrigger bool
param directVhd bool
param applicationInsightsName string
param tellsEvents bool
param eventsEndpoint string
param httpApi bool
param apiClientId string
param apiCallerClientIds string[]
param apiKeyRoles string[]
param apiVersions { gallery: string?, compute: string?, disk: string? }
param subnetId string
param instanceMemoryMB int
param maximumInstanceCount int
param alwaysReadyInstances int
param zoneRedundant bool
param siteUpdateStrategy '' | 'Recreate' | 'RollingUpdate'

// With zones Azure takes no smaller number of instances that are kept warm ("Reliability in Azure Functions").
var fewestReady = zoneRedundant ? 2 : 1
var signsIn = !empty(apiClientId)

resource appStorage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: appStorageName
}

resource vhdStorage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: vhdStorageName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: union(
      {
        deployment: {
          storage: {
            type: 'blobContainer'
            value: '${appStorage.properties.primaryEndpoints.blob}${packageContainer}'
            authentication: {
              type: 'UserAssignedIdentity'
              userAssignedIdentityResourceId: identityId
            }
          }
        }
        runtime: {
          name: 'python'
          version: '3.13'
        }
        scaleAndConcurrency: {
          instanceMemoryMB: instanceMemoryMB
          maximumInstanceCount: maximumInstanceCount
          // Flex scales each queue's function by itself. Steps are what runs wait for, so they are what is kept warm.
          // A blob trigger of Event Grid has nothing that would start its first instance.
          alwaysReady: concat(
            alwaysReadyInstances == 0
              ? []
              : [
                  {
                    name: 'function:take_step'
                    instanceCount: max(alwaysReadyInstances, fewestReady)
                  }
                ],
            blobTrigger
              ? [
                  {
                    name: 'blob'
                    instanceCount: fewestReady
                  }
                ]
              : []
          )
        }
      },
      // Not said unless asked for: the types of this API version do not have it ("Site updates", Flex Consumption).
      empty(siteUpdateStrategy)
        ? {}
        : {
            siteUpdateStrategy: {
              type: siteUpdateStrategy
            }
          }
    )
    // Flex Consumption refuses settings of other plans, ftpsState among them. FTP takes no password, see below.
    siteConfig: {
      minTlsVersion: '1.2'
    }
  }
}

// The door before the HTTP API, for those who have an Entra application: calls without its token end here. It stands
// before the settings by which the app asks for no key (API_CLIENT_ID), and the app looks at each token by itself all
// the same. Said either way: what is left out would stay as it was.
resource signIn 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: union(
    {
      platform: {
        enabled: signsIn
      }
      globalValidation: {
        requireAuthentication: signsIn
        unauthenticatedClientAction: signsIn ? 'Return401' : 'AllowAnonymous'
        // Event Grid calls the blob trigger with a key of the Functions host, and has no token.
        excludedPaths: blobTrigger ? ['/runtime/webhooks/blobs'] : []
      }
      httpSettings: {
        requireHttps: true
      }
      login: {
        tokenStore: {
          enabled: false
        }
      }
    },
    signsIn
      ? {
          identityProviders: {
            azureActiveDirectory: {
              enabled: true
              registration: {
                clientId: apiClientId
                openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
              }
              validation: union(
                {
                  allowedAudiences: [
                    apiClientId
                    'api://${apiClientId}'
                  ]
                },
                empty(apiCallerClientIds)
                  ? {}
                  : {
                      defaultAuthorizationPolicy: {
                        allowedApplications: apiCallerClientIds
                      }
                    }
              )
            }
          }
        }
      : {}
  )
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    {
      AzureWebJobsStorage__blobServiceUri: appStorage.properties.primaryEndpoints.blob
      AzureWebJobsStorage__queueServiceUri: appStorage.properties.primaryEndpoints.queue
      AzureWebJobsStorage__tableServiceUri: appStorage.properties.primaryEndpoints.table
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: identityClientId

      Storage__blobServiceUri: vhdStorage.properties.primaryEndpoints.blob
      Storage__queueServiceUri: vhdStorage.properties.primaryEndpoints.queue
      Storage__tableServiceUri: vhdStorage.properties.primaryEndpoints.table
      Storage__credential: 'managedidentity'
      Storage__clientId: identityClientId

      APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'

      // Steps wait for Azure, not for the processor: as many threads as host.json lets an instance take messages.
      PYTHON_THREADPOOL_THREAD_COUNT: '24'

      AZURE_CLIENT_ID: identityClientId
      AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
      ARM_ENDPOINT: environment().resourceManager
      ARM_AUDIENCE: environment().resourceManager
      // Empty: as the code has it.
      GALLERY_API_VERSION: apiVersions.?gallery ?? ''
      COMPUTE_API_VERSION: apiVersions.?compute ?? ''
      DISK_API_VERSION: apiVersions.?disk ?? ''
      MANAGED_IMAGE_GROUP_ID: managedImageGroupId
      CATALOG: 'catalog.yaml'
      HTTP_API: httpApi ? 'on' : 'off'
      API_KEY_ROLES: join(apiKeyRoles, ',')
      SWEEP_SCHEDULE: '0 */5 * * * *'
      PROMOTION_SCHEDULE: '0 0 2 * * *'
      RETENTION_SCHEDULE: '0 30 3 * * *'
      UPLOAD_SETTLE_SECONDS: '60'
      UPLOAD_STALL_SECONDS: '3600'
      POLL_SECONDS: '10'
      POLL_MAX_SECONDS: '120'
      RUN_DEADLINE_SECONDS: '86400'
      SWEEP_GRACE_SECONDS: '120'
    },
    directVhd
      ? {
          VHD_STORAGE_ACCOUNT_ID: vhdStorage.id
        }
      : {},
    tellsEvents
      ? {
          EVENTS_ENDPOINT: eventsEndpoint
        }
      : {},
    signsIn
      ? {
          API_CLIENT_ID: apiClientId
          API_TENANT_ID: tenant().tenantId
          API_AUTHORITY: environment().authentication.loginEndpoint
        }
      : {},
    blobTrigger
      ? {
          VHD_BLOB_TRIGGER: 'EventGrid'
          VHD_CONTAINER: vhdContainer
        }
      : {}
  )
  dependsOn: [
    signIn
  ]
}

// Deployment signs in: neither FTP nor the deployment endpoint takes a user name and a password.
// One change of the app after the other, here and above: Azure answers two at once with a conflict.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [
    settings
  ]
}

resource noDeployPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [
    noFtpPassword
  ]
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'

// The function app, on Flex Consumption. No setting holds a secret: all that it reaches, it reaches as its identity.
param name string
param location string
param tags object
param identityId string
param identityClientId string
param appStorageName string
param packageContainer string
param vhdStorageName string
param vhdContainer string
param blobTrigger bool
param directVhd bool
param applicationInsightsName string
param eventsEndpoint string
param apiClientId string
param subnetId string
param instanceMemoryMB int
param maximumInstanceCount int
param alwaysReadyInstances int
param zoneRedundant bool

resource appStorage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: appStorageName
}

resource vhdStorage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: vhdStorageName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: a parameter, zoneRedundant: not every region has it, and a run outlives its instance anyway
  // checkov:skip=CKV_AZURE_212: Flex Consumption scales from nothing; alwaysReadyInstances keeps some warm
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

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17: callers of the HTTP API show a function key, or a token with apiClientId; they have no certificates
  // checkov:skip=CKV_AZURE_222: build systems call the HTTP API from outside; requests can come by queue instead
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check path; the alert no-sweep tells of an app that is down
  // checkov:skip=CKV_AZURE_212: Flex Consumption scales from nothing; alwaysReadyInstances keeps some warm
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
    functionAppConfig: {
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
        alwaysReady: union(
          alwaysReadyInstances == 0 ? [] : [
            {
              name: 'function:take_step'
              instanceCount: alwaysReadyInstances
            }
          ],
          blobTrigger ? [
            {
              name: 'blob'
              instanceCount: 1
            }
          ] : []
        )
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
    }
  }
}

// Deployment signs in: neither FTP nor the deployment endpoint takes a user name and a password.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noDeployPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13: these are app settings or sign-in itself; sign-in comes with apiClientId
  // checkov:skip=CKV_AZURE_63: not a setting of this resource; Application Insights has every request
  // checkov:skip=CKV_AZURE_65: not a setting of this resource; details are for the log, not for callers
  // checkov:skip=CKV_AZURE_66: not a setting of this resource; Application Insights has every request
  // checkov:skip=CKV_AZURE_80: there is no .NET here
  // checkov:skip=CKV_AZURE_88: Flex Consumption mounts no Azure Files, and Azure Files wants a key
  // checkov:skip=CKV_AZURE_222: not a setting of this resource
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
      CATALOG: 'catalog.yaml'
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
    directVhd ? {
      VHD_STORAGE_ACCOUNT_ID: vhdStorage.id
    } : {},
    empty(eventsEndpoint) ? {} : {
      EVENTS_ENDPOINT: eventsEndpoint
    },
    empty(apiClientId) ? {} : {
      API_SIGN_IN: 'entra'
    },
    blobTrigger ? {
      VHD_BLOB_TRIGGER: 'EventGrid'
      VHD_CONTAINER: vhdContainer
    } : {}
  )
}

// The door before the HTTP API, for those who have an Entra application: calls without its token end here, and the
// app then asks for no key (API_SIGN_IN).
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (!empty(apiClientId)) {
  // checkov:skip=CKV_AZURE_13: these are app settings or sign-in itself; sign-in comes with apiClientId
  // checkov:skip=CKV_AZURE_63: not a setting of this resource; Application Insights has every request
  // checkov:skip=CKV_AZURE_65: not a setting of this resource; details are for the log, not for callers
  // checkov:skip=CKV_AZURE_66: not a setting of this resource; Application Insights has every request
  // checkov:skip=CKV_AZURE_80: there is no .NET here
  // checkov:skip=CKV_AZURE_88: Flex Consumption mounts no Azure Files, and Azure Files wants a key
  // checkov:skip=CKV_AZURE_222: not a setting of this resource
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: apiClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            apiClientId
            'api://${apiClientId}'
          ]
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
  dependsOn: [
    settings
  ]
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'

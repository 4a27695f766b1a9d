// What the pipeline does at Resource Manager and on VHDs: what the code calls, and nothing else.
// tests/infra compares these with the code and with what the sandbox was asked.

@export()
var imageMakerActions = [
  'Microsoft.Compute/images/read'
  'Microsoft.Compute/images/write'
  'Microsoft.Compute/images/delete'
]

@export()
func publisherActions(deletesVersions bool) string[] =>
  concat(
    [
      'Microsoft.Compute/galleries/images/read'
      'Microsoft.Compute/galleries/images/write'
      'Microsoft.Compute/galleries/images/versions/read'
      'Microsoft.Compute/galleries/images/versions/write'
    ],
    deletesVersions ? ['Microsoft.Compute/galleries/images/versions/delete'] : []
  )

// A lock on a gallery's group holds for the gallery, and only the group shows it.
@export()
var lockActions = [
  'Microsoft.Authorization/locks/read'
]

// The status of an operation, the only place where Azure says why one failed, has its address under the subscription
// and not under a resource group. These read such statuses, and nothing else.
@export()
var operationActions = [
  'Microsoft.Compute/locations/operations/read'
  'Microsoft.Compute/locations/capsOperations/read'
]

@export()
var directActions = [
  'Microsoft.Storage/storageAccounts/read'
  'Microsoft.Storage/storageAccounts/listKeys/action'
]

var readableSources = [
  'Microsoft.Compute/disks/read'
  'Microsoft.Compute/snapshots/read'
  'Microsoft.Compute/virtualMachines/read'
  'Microsoft.Compute/images/read'
  'Microsoft.Compute/galleries/images/read'
  'Microsoft.Compute/galleries/images/versions/read'
]

// Azure looks for write, not read, on a disk, snapshot or VM that a version is made of ("Store and share images in an
// Azure Compute Gallery", permissions). So each kind is asked for by name.
@export()
func actionsOfSources(kinds ('disk' | 'snapshot' | 'vm')[]) string[] =>
  concat(
    readableSources,
    contains(kinds, 'disk') ? ['Microsoft.Compute/disks/write'] : [],
    contains(kinds, 'snapshot') ? ['Microsoft.Compute/snapshots/write'] : [],
    contains(kinds, 'vm') ? ['Microsoft.Compute/virtualMachines/write'] : []
  )

@export()
func taggerDataActions(deletesVhds bool) string[] =>
  concat(
    [
      'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
      'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/filter/action'
      'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read'
      'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write'
    ],
    deletesVhds ? ['Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'] : []
  )

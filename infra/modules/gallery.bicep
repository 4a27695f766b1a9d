// An Azure Compute Gallery. The pipeline makes the definitions and versions in it.
param name string
param location string
param tags { *: string }
param purpose string

resource gallery 'Microsoft.Compute/galleries@2025-03-03' = {
  name: name
  location: location
  tags: tags
  properties: {
    description: purpose
  }
}

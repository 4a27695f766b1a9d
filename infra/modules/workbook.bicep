// One page that shows what runs, what ended how, and what it cost Azure.
param location string
param tags { *: string }
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'gallerist')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Gallerist'
    category: 'workbook'
    sourceId: workspaceId
    version: '1.0'
    serializedData: loadTextContent('../workbook.json')
  }
}

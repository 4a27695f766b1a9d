// What somebody should know of. docs/operate.md says, for each, what to do. Each rule is a query of infra/queries.
param token string
param location string
param tags object
param workspaceId string
param systemTopicId string
param email string
param replicationDeadlineHours int

var hasEmail = !empty(email)
var told = hasEmail ? [
  people.id
] : []

// A window is longer than the interval, since logs come some minutes late.
// `measured`: the column that the query sums up in its one row; else the rule counts rows, and one is enough.
var rules = [
  {
    name: 'run-failed'
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
    description: 'A run failed. Its reason says what to mend.'
    query: loadTextContent('../queries/run-failed.kql')
    measured: ''
    by: 'image'
  }
  {
    name: 'poison-message'
    severity: 1
    every: 'PT5M'
    window: 'PT30M'
    description: 'A message failed as often as it may, and lies in a poison queue.'
    query: loadTextContent('../queries/poison-message.kql')
    measured: ''
    by: 'queue'
  }
  {
    name: 'no-sweep'
    severity: 1
    every: 'PT15M'
    window: 'PT30M'
    description: 'No sweep has succeeded for half an hour: the app is down, or cannot reach its storage.'
    query: loadTextContent('../queries/no-sweep.kql')
    measured: 'sweeps'
    by: ''
  }
  {
    name: 'no-nightly-work'
    severity: 2
    every: 'PT1H'
    window: 'P2D'
    description: 'Promotion or retention has not succeeded for more than a day.'
    query: loadTextContent('../queries/no-nightly-work.kql')
    measured: ''
    by: 'work'
  }
  {
    name: 'replication-late'
    severity: 2
    every: 'PT30M'
    window: 'P2D'
    description: 'A version replicates for longer than replicationDeadlineHours.'
    query: replace(loadTextContent('../queries/replication-late.kql'), 'DEADLINE_HOURS', string(replicationDeadlineHours))
    measured: ''
    by: 'image'
  }
  {
    name: 'message-rejected'
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
    description: 'A message could not be taken. It is kept in container rejected, with the reason.'
    query: loadTextContent('../queries/message-rejected.kql')
    measured: ''
    by: 'queue'
  }
  {
    name: 'event-lost'
    severity: 3
    every: 'PT15M'
    window: 'PT30M'
    description: 'What became of a run could not be told.'
    query: loadTextContent('../queries/event-lost.kql')
    measured: ''
    by: ''
  }
  {
    name: 'runs-stall'
    severity: 3
    every: 'PT30M'
    window: 'PT1H'
    description: 'The sweep keeps finding steps that were lost.'
    query: loadTextContent('../queries/runs-stall.kql')
    measured: ''
    by: ''
  }
  {
    name: 'drop-missing'
    severity: 2
    every: 'PT30M'
    window: 'PT1H'
    description: 'The catalog names a container that is not there.'
    query: loadTextContent('../queries/drop-missing.kql')
    measured: ''
    by: 'container'
  }
  {
    name: 'promotion-failed'
    severity: 2
    every: 'PT15M'
    window: 'PT30M'
    description: 'A promotion rule could not be looked at or begun. The next night tries again.'
    query: loadTextContent('../queries/promotion-failed.kql')
    measured: ''
    by: 'rule'
  }
  {
    name: 'retention-stuck'
    severity: 3
    every: 'PT30M'
    window: 'PT1H'
    description: 'Retention could not look at an image, or Azure did not let go of what it deletes.'
    query: loadTextContent('../queries/retention-stuck.kql')
    measured: ''
    by: 'image'
  }
  {
    name: 'function-fails'
    severity: 2
    every: 'PT15M'
    window: 'PT30M'
    description: 'A function ends in an exception again and again.'
    query: loadTextContent('../queries/function-fails.kql')
    measured: ''
    by: 'function'
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (hasEmail) {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'gallerist'
    enabled: true
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'gallerist-${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Gallerist: ${rule.name}'
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.window
    // The tables come to be with the first log.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        union(
          {
            query: rule.query
            timeAggregation: empty(rule.measured) ? 'Count' : 'Total'
            operator: empty(rule.measured) ? 'GreaterThan' : 'LessThan'
            threshold: empty(rule.measured) ? 0 : 1
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          },
          empty(rule.measured) ? {} : {
            metricMeasureColumn: rule.measured
          },
          empty(rule.by) ? {} : {
            dimensions: [
              {
                name: rule.by
                operator: 'Include'
                values: [
                  '*'
                ]
              }
            ]
          }
        )
      ]
    }
    actions: {
      actionGroups: told
    }
  }
}]

// Event Grid itself counts what it gave up on.
resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'gallerist-event-dead-lettered-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid could not deliver an upload. It is in container dead-letter; the sweep finds the VHD all the same.'
    severity: 3
    enabled: true
    scopes: [
      systemTopicId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dead-lettered'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeadLetteredCount'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: hasEmail ? [
      {
        actionGroupId: people.id
      }
    ] : []
  }
}

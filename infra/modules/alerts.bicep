// What somebody should know of. docs/operate.md says, for each, what to do. Each log alert is a query of infra/queries
// that answers a row for each thing to tell of, and is told once for each combination of what it is split by.
param token string
param location string
param tags { *: string }
param workspaceId string
param systemTopicId string
param email string
param replicationDeadlineHours int

type logAlert = {
  name: string
  severity: int

  @description('How often the query runs. The price goes by it, and Azure tells how a rule fares only up to a quarter of an hour.')
  every: 'PT5M' | 'PT15M'

  @description('What the query looks at. Longer than the interval, since logs come some minutes late.')
  window: 'PT30M' | 'PT1H' | 'P2D'

  description: string
  query: string

  @description('The columns that an alert carries: nothing else of a row gets into it. Six at most.')
  @maxLength(6)
  splitBy: string[]
}

type eventGridAlert = {
  name: string
  metric: 'DeadLetteredCount' | 'DroppedEventCount'
  splitBy: 'DeadLetterReason' | 'DropReason'
  description: string
}

var logAlerts logAlert[] = [
  {
    name: 'needs-action-today'
    severity: 2
    every: 'PT5M'
    window: 'PT30M'
    description: 'A run failed, a message could not be taken, a container is missing or a promotion could not begin: docs/operate.md says what to do, under the name that event has.'
    query: loadTextContent('../queries/needs-action-today.kql')
    splitBy: [
      'event'
      'run'
      'image'
      'about'
      'reason'
      'at'
    ]
  }
  {
    name: 'needs-action-this-week'
    severity: 3
    every: 'PT15M'
    window: 'PT1H'
    description: 'An event could not be sent, steps are lost or retention is stuck: docs/operate.md says what to do, under the name that event has.'
    query: loadTextContent('../queries/needs-action-this-week.kql')
    splitBy: [
      'event'
      'run'
      'image'
      'about'
      'reason'
    ]
  }
  {
    name: 'poison-message'
    severity: 1
    every: 'PT5M'
    window: 'PT30M'
    description: 'A message failed as often as it may, and lies in a poison queue.'
    query: loadTextContent('../queries/poison-message.kql')
    splitBy: [
      'queue'
    ]
  }
  {
    name: 'no-sweep'
    severity: 1
    every: 'PT15M'
    window: 'PT30M'
    description: 'No sweep has succeeded for half an hour: the app is down, or cannot reach its storage.'
    query: loadTextContent('../queries/no-sweep.kql')
    splitBy: []
  }
  {
    name: 'no-nightly-work'
    severity: 2
    every: 'PT15M'
    window: 'P2D'
    description: 'Promotion or retention has not succeeded for more than a day.'
    query: loadTextContent('../queries/no-nightly-work.kql')
    splitBy: [
      'work'
    ]
  }
  {
    name: 'replication-late'
    severity: 2
    every: 'PT15M'
    window: 'P2D'
    description: 'A version replicates for longer than replicationDeadlineHours.'
    query: replace(
      loadTextContent('../queries/replication-late.kql'),
      'DEADLINE_HOURS',
      string(replicationDeadlineHours)
    )
    splitBy: [
      'run'
      'image'
    ]
  }
  {
    name: 'function-fails'
    severity: 2
    every: 'PT15M'
    window: 'PT30M'
    description: 'A function ends in an exception again and again.'
    query: loadTextContent('../queries/function-fails.kql')
    splitBy: [
      'function'
    ]
  }
]

// Event Grid itself counts what it gave up on.
var eventGridAlerts eventGridAlert[] = [
  {
    name: 'event-dead-lettered'
    metric: 'DeadLetteredCount'
    splitBy: 'DeadLetterReason'
    description: 'Event Grid could not deliver an upload. It is in container dead-letter; the sweep finds the VHD all the same.'
  }
  {
    name: 'event-dropped'
    metric: 'DroppedEventCount'
    splitBy: 'DropReason'
    description: 'Event Grid could neither deliver an upload nor keep it in container dead-letter. The sweep finds the VHD all the same.'
  }
]

var hasEmail = !empty(email)

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

resource logRules 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in logAlerts: {
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
      // A table comes to be with its first row. The queries do without; Azure's validation does not.
      skipQueryValidation: true
      // One that does not end by itself is told again at each evaluation for as long as its row is in the window.
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: [
              for column in rule.splitBy: {
                name: column
                operator: 'Include'
                values: [
                  '*'
                ]
              }
            ]
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: hasEmail
          ? [
              people.id
            ]
          : []
      }
    }
  }
]

resource eventGridRules 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for rule in eventGridAlerts: {
    name: 'gallerist-${rule.name}-${token}'
    location: 'global'
    tags: tags
    properties: {
      description: rule.description
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
            name: rule.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: 'Microsoft.EventGrid/systemTopics'
            metricName: rule.metric
            operator: 'GreaterThan'
            threshold: 0
            timeAggregation: 'Total'
            dimensions: [
              {
                name: rule.splitBy
                operator: 'Include'
                values: [
                  '*'
                ]
              }
            ]
          }
        ]
      }
      actions: hasEmail
        ? [
            {
              actionGroupId: people.id
            }
          ]
        : []
    }
  }
]

// Azure disables a log alert whose query has failed for a week, and writes it down, but tells nobody.
resource disabledRule 'Microsoft.Insights/activityLogAlerts@2026-01-01' = {
  name: 'gallerist-rule-disabled-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Azure disabled a log alert, since its query failed for a week.'
    enabled: true
    scopes: [
      resourceGroup().id
    ]
    condition: {
      allOf: [
        {
          field: 'category'
          equals: 'Administrative'
        }
        {
          field: 'operationName'
          equals: 'Microsoft.Insights/ScheduledQueryRules/disable/action'
        }
      ]
    }
    actions: {
      actionGroups: hasEmail
        ? [
            {
              actionGroupId: people.id
            }
          ]
        : []
    }
  }
}

output names string[] = concat(
  map(logAlerts, rule => 'gallerist-${rule.name}-${token}'),
  map(eventGridAlerts, rule => 'gallerist-${rule.name}-${token}'),
  [disabledRule.name]
)

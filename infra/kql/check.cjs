// Reads each query of infra/queries and of the workbook as Azure Monitor would: grammar, names, types. Each has to hold
// in a workspace that has logs, and in one whose tables have had no row yet and are not there.
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");

const { GlobalState, KustoCode, Diagnostic, Symbols } = globalThis.Kusto.Language;
const infra = join(__dirname, "..");

// Of each table, the columns that the queries use, as Azure Monitor's reference of tables has them.
const tables = {
  AppTraces: "(TimeGenerated:datetime, Message:string)",
  AppRequests: "(TimeGenerated:datetime, Name:string, Success:bool, DurationMs:real)",
  StorageQueueLogs: "(TimeGenerated:datetime, OperationName:string, Uri:string)",
};

function workspace(tables) {
  const symbols = Object.entries(tables).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
  return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", symbols));
}
const full = workspace(tables);
const fresh = workspace({});

function faults(query, state) {
  const found = KustoCode.ParseAndAnalyze(query, state).GetDiagnostics();
  const count = globalThis.System.Array.getCount(found, Diagnostic);
  return Array.from({ length: count }, (_, n) => globalThis.System.Array.getItem(found, n, Diagnostic))
    .filter((fault) => fault.Severity === "Error")
    .map((fault) => `${fault.Message} Near: ${query.slice(fault.Start, fault.Start + 40)}`);
}

// Where the table is not there, the union is of its stand-in alone, which has to have every column that is used.
const standIn = /union isfuzzy=true \((datatable\([^)]*\)\[\])\), \w+/g;

function allFaults(query) {
  return [
    ...faults(query, full),
    ...faults(query, fresh).map((fault) => `before the first log: ${fault}`),
    ...faults(query.replace(standIn, "$1"), full).map((fault) => `before the first log: ${fault}`),
  ];
}

const queries = readdirSync(join(infra, "queries")).map((name) => [
  name,
  readFileSync(join(infra, "queries", name), "utf8").replace("DEADLINE_HOURS", "6"),
]);
for (const item of JSON.parse(readFileSync(join(infra, "workbook.json"), "utf8")).items) {
  if (item.content.query) queries.push([`workbook ${item.name}`, item.content.query]);
}
// A check that finds nothing wrong anywhere has to show that it can.
const wrongOnes = {
  "AppTraces | where Mesage == '1'": 2,
  "AppTraces | where Message == '1'": 1,
  "union isfuzzy=true (datatable(TimeGenerated: datetime)[]), AppTraces | where Message == '1'": 1,
  "union isfuzzy=true (datatable(TimeGenerated: datetime, Message: string)[]), AppTraces | where Message == '1'": 0,
};
for (const [query, least] of Object.entries(wrongOnes)) {
  const found = allFaults(query);
  if (least ? found.length < least : found.length) throw new Error(`the language service finds ${found} in ${query}`);
}
const wrong = queries.flatMap(([name, query]) => allFaults(query).map((fault) => `${name}: ${fault}`));
for (const line of wrong) console.error(line);
console.log(`${queries.length} queries read, ${wrong.length} faults`);
process.exit(wrong.length ? 1 : 0);

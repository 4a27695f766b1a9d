// Reads each query of infra/queries and of the workbook as Azure Monitor would: grammar, names, types.
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
  StorageQueueLogs: "(TimeGenerated:datetime, OperationName:string, Uri:string, StatusCode:string)",
};
const symbols = Object.entries(tables).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
const state = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", symbols));

function faults(query) {
  const found = KustoCode.ParseAndAnalyze(query, state).GetDiagnostics();
  const count = globalThis.System.Array.getCount(found, Diagnostic);
  return Array.from({ length: count }, (_, n) => {
    const fault = globalThis.System.Array.getItem(found, n, Diagnostic);
    return `${fault.Message} Near: ${query.slice(fault.Start, fault.Start + 40)}`;
  });
}

const queries = readdirSync(join(infra, "queries")).map((name) => [
  name,
  readFileSync(join(infra, "queries", name), "utf8").replace("DEADLINE_HOURS", "6"),
]);
for (const item of JSON.parse(readFileSync(join(infra, "workbook.json"), "utf8")).items) {
  if (item.content.query) queries.push([`workbook ${item.name}`, item.content.query]);
}
// A check that finds nothing wrong anywhere has to show that it can.
if (faults("AppTraces | where Mesage == 1").length !== 1) throw new Error("the language service finds no fault");
const wrong = queries.flatMap(([name, query]) => faults(query).map((fault) => `${name}: ${fault}`));
for (const line of wrong) console.error(line);
console.log(`${queries.length} queries read, ${wrong.length} faults`);
process.exit(wrong.length ? 1 : 0);

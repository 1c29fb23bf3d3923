// Checks objects of the Prometheus operator against its schemas. Standard input: an array of objects as JSON; argument: node_modules.
import { readFileSync } from "node:fs";

const models = await import(`${process.argv[2]}/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js`);
const objects = JSON.parse(readFileSync(0, "utf8"));
for (const object of objects) new models[object.kind](object).validate();
console.log(`${objects.length} valid`);

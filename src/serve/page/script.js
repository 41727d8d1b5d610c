"use strict";
const at = (id) => document.getElementById(id);

async function ask(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers.Authorization = `Bearer ${at("key").value}`;
  const options = body ? { method: "POST", body: JSON.stringify(body), headers } : { headers };
  const response = await fetch(path, options);
  const said = await response.json();
  if (response.status === 401) {
    at("locked").hidden = false;
    at("key").focus();
  }
  if (!response.ok) throw new Error(said.error);
  return said;
}

function problem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  at("answer").hidden = true;
}

async function describe() {
  const info = await ask("info");
  const labels = Object.values(info.model_type.classifier.id2label);
  const names = info.task === "regression" ? "a number" : labels.join(", ");
  at("model").textContent = `${info.model_id} (${info.family}, ${info.device}): ${names}`;
}

function shownLabel(label) {
  if (typeof label === "number") return label.toFixed(4);
  if (Array.isArray(label)) return label.length ? label.join(", ") : "(no label)";
  return label;
}

function row(name, probability) {
  const row = document.createElement("tr");
  const cell = (kind, content) => {
    const cell = row.appendChild(document.createElement("td"));
    cell.className = kind;
    cell.append(content);
  };
  const meter = document.createElement("meter");
  meter.value = probability;
  meter.setAttribute("aria-label", name);
  cell("", name);
  cell("bar", meter);
  cell("number", probability.toFixed(4));
  return row;
}

function word({ text, weight }, most) {
  const span = document.createElement("span");
  span.textContent = text;
  span.title = weight.toFixed(4);
  const share = most > 0 ? Math.abs(weight) / most : 0;
  const step = Math.ceil(3 * share);
  if (share > 0.05) span.className = (weight > 0 ? "for" : "against") + step;
  return span;
}

function show(found) {
  at("problem").hidden = true;
  at("label").textContent = shownLabel(found.label);
  const rows = Object.entries(found.probabilities).sort((one, other) => other[1] - one[1]);
  at("probabilities").replaceChildren(...rows.map(([name, value]) => row(name, value)));
  const about = found.explained === null ? "the number" : `the probability of ${found.explained}`;
  at("about").textContent =
    `How much ${about} falls without each word. Blue words raise it, orange ones lower it.`;
  const most = Math.max(0, ...found.words.map((it) => Math.abs(it.weight)));
  at("words").replaceChildren(...found.words.map((it) => word(it, most)));
  at("answer").hidden = false;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = at("form").querySelector("button");
  button.disabled = true;
  const context = at("context").value.split("\n").filter((turn) => turn.trim());
  const inputs = { text: at("text").value, ...(context.length ? { context } : {}) };
  try {
    show(await ask("explain", { inputs }));
    if (!at("model").textContent) await describe();
  } catch (error) {
    problem(error);
  } finally {
    button.disabled = false;
  }
});
describe().catch(problem);
// A link to a text: what follows `#` never leaves the browser but in the request.
const given = decodeURIComponent(location.hash.slice(1));
if (given) {
  at("text").value = given;
  at("form").requestSubmit();
}

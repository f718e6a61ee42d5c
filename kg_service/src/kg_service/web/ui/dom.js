/* Elements that all views are made of. */

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* The address of a view, of what it shows where `what` is given, one thing or several: #view/ID,ID?name=value. */
export function address(view, what, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const shown = what === undefined ? "" : `/${[what].flat().map(encodeURIComponent).join(",")}`;
  return `#${view}${shown}${query.size ? `?${query}` : ""}`;
}

/* What an address names: {view, what, several, parameters}; `what` takes commas as they are, `several` as what divides. */
export function addressed(hash) {
  const [path, ...query] = hash.replace(/^#/, "").split("?");
  const [view, ...rest] = path.split("/");
  const shown = rest.join("/");
  return { view, what: decoded(shown), several: shown.split(",").filter(Boolean).map(decoded), parameters: new URLSearchParams(query.join("?")) };
}

/* Text that was written by hand may have a % that stands for itself. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/* Goes to an address; shows it anew where it is the one already. */
export function goTo(where) {
  if (location.hash === where) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = where;
}

export function link(view, what, text = what) {
  return make("a", { href: address(view, what) }, text);
}

export function imageLink(id) {
  return link("captions", id);
}

export function say(message, isError = false) {
  byId("status").textContent = message;
  byId("status").classList.toggle("error", isError);
}

export function note(...parts) {
  return make("p", { class: "note" }, ...parts);
}

export function plainButton(text, action, attributes = {}) {
  const button = make("button", { type: "button", class: "plain", ...attributes }, text);
  button.addEventListener("click", action);
  return button;
}

export function table(heads, rows, caption) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const title = caption ? [make("caption", {}, caption)] : [];
  return make("table", {}, ...title, make("thead", {}, head), make("tbody", {}, ...rows));
}

export function cell(content, kind = "") {
  return make("td", kind ? { class: kind } : {}, content);
}

export function row(...contents) {
  return make("tr", {}, ...contents.map((content) => cell(content, typeof content === "string" && /^-?[\d.,]+$/.test(content) ? "number" : "")));
}

export function concept({ cui, name }) {
  return `${cui} ${name}`.trim();
}

export function named(concepts) {
  return concepts.map(concept).join(", ");
}

export function assertion(mention) {
  return make("mark", { class: mention.assertion }, mention.assertion);
}

export function submitted(form, action) {
  byId(form).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

/* The last request of each panel. */
const pending = {};

/* Fills a panel with what a request gives, or with why it failed; of several that overlap the last one counts. */
export async function fill(panel, request) {
  const turn = (pending[panel] = {});
  byId(panel).replaceChildren(note("Looking…"));
  const parts = await request().catch((error) => [make("p", { class: "note failed" }, error.message)]);
  if (pending[panel] === turn) byId(panel).replaceChildren(...parts);
}

/* Empties a panel; what was asked for it is no longer shown. */
export function clear(panel) {
  delete pending[panel];
  byId(panel).replaceChildren();
}

/* The colour that a variable of the style sheet has now. */
export function colour(name) {
  const probe = make("span", { hidden: "" });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/* Requests to the service, with the key of this tab. */

import { byId } from "./dom.js";

const KEY = "kg-service key";

export function useKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function showKeyForm(open) {
  byId("key-form").hidden = !open;
  byId("key-button").setAttribute("aria-expanded", String(open));
  if (open) byId("key").focus();
}

/* The answer; an error is thrown as the problem's own words. */
async function answered(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { Accept: "application/json", ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options, headers, credentials: "omit", redirect: "error" });
  } catch {
    throw new Error("The service does not answer.");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) showKeyForm(true);
  throw new Error([body.detail || `Status ${answer.status}`, body.hint].filter(Boolean).join("; "));
}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== undefined && each !== "") query.append(name, each);
  }
  return (await answered(query.size ? `${path}?${query}` : path)).json();
}

export async function post(path, body) {
  return (await answered(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
}

/* A file of the service, which the browser may keep. */
export async function file(path) {
  return (await answered(path, { cache: "default", headers: { Accept: "*/*" } })).blob();
}

/* The path of an image. Slashes stay, which any proxy lets through, but where a browser or a proxy would fold the path's parts. */
export function imagePath(id) {
  if (id === "." || id === "..") throw new Error(`The image id ${id} has no path of its own: no browser asks for it.`);
  const parts = id.split("/");
  const folds = parts.some((part) => part === "" || part === "." || part === "..");
  return `v1/images/${folds ? encodeURIComponent(id) : parts.map(encodeURIComponent).join("/")}`;
}

export async function imageOf(id) {
  return ask(imagePath(id));
}

export function explanationOf(id, other, parameters = {}) {
  return post("v1/explain", { image_id: id, other_id: other, ...parameters });
}

/* What the service says of itself, asked once. */
let info;
export function aboutService() {
  info ??= ask("v1/info").catch((error) => {
    info = undefined;
    throw error;
  });
  return info;
}

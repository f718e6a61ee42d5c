/* Light or dark: as the system has it, until the button says otherwise. */

import { byId } from "./dom.js";

const THEME = "kg-service theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const watching = new Set();

/* Calls `action` whenever colours change. */
export function onTheme(action) {
  watching.add(action);
}

function shown() {
  return localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light");
}

function apply() {
  const theme = shown();
  document.documentElement.dataset.theme = theme;
  byId("theme-button").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme-button").setAttribute("aria-label", `Use the ${theme === "dark" ? "light" : "dark"} theme`);
  for (const action of watching) action();
}

export function startTheme() {
  byId("theme-button").addEventListener("click", () => {
    localStorage.setItem(THEME, shown() === "dark" ? "light" : "dark");
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

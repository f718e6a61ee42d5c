/* The start: views, key and theme. The part of the address behind # names the view and what it shows. */

import { openCaptions, startCaptions } from "./captions.js";
import { addressed, byId, say, submitted } from "./dom.js";
import { openDoubts, startDoubts } from "./doubts.js";
import { openJobs, startJobs } from "./jobs.js";
import { openTargets, startTargets } from "./matrix.js";
import { openSearch, startSearch } from "./search.js";
import { showKeyForm, useKey } from "./service.js";
import { startTheme } from "./theme.js";

const VIEWS = {
  captions: { title: "Captions and their concepts", start: startCaptions, open: openCaptions },
  search: { title: "Search", start: startSearch, open: openSearch },
  targets: { title: "Targets of a batch", start: startTargets, open: openTargets },
  doubts: { title: "Doubtful mentions", start: startDoubts, open: openDoubts },
  jobs: { title: "Jobs and snapshots", start: startJobs, open: openJobs },
};
const FIRST = "captions";
const started = new Set();

function visit() {
  const { view: name, ...shown } = addressed(location.hash);
  const known = Object.hasOwn(VIEWS, name);
  const view = known ? name : FIRST;
  for (const each of Object.keys(VIEWS)) byId(`${each}-view`).hidden = each !== view;
  for (const link of byId("views").querySelectorAll("a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("title").textContent = VIEWS[view].title;
  document.title = `NB-CLIP: ${VIEWS[view].title.toLowerCase()}`;
  say("");
  if (!started.has(view)) VIEWS[view].start();
  started.add(view);
  VIEWS[view].open(known ? shown : addressed(""));
  if (name && !known) say(`There is no view “${name}”: choose one above.`, true);
}

function startKey() {
  submitted("key-form", () => {
    const key = byId("key").value.trim();
    if (!key) return;
    useKey(key);
    byId("key").value = "";
    showKeyForm(false);
    visit();
    say("The key is used from now on.");
  });
  byId("forget").addEventListener("click", () => {
    useKey("");
    byId("key").value = "";
    say("The key is forgotten.");
  });
  byId("key-button").addEventListener("click", () => showKeyForm(byId("key-form").hidden));
}

startTheme();
startKey();
addEventListener("hashchange", visit);
visit();

/* Mentions that the linker is less sure of, to be marked right or wrong. Marks stay in this browser until they are downloaded.
 *
 * The file is one that `kg-service linker fit` takes: of each caption with a mark, the spans that stand. */

import { assertion, byId, cell, concept, imageLink, make, note, plainButton, say, submitted } from "./dom.js";
import { ask } from "./service.js";

const MARKS = "kg-service marks";
const PAGE = 40;
const ENOUGH = 20;

let cursor = null;

/* By image id: {caption, mentions: [[start, end, cui]], marks: {"start end cui": "right" or "wrong"}}. */
function read() {
  return JSON.parse(localStorage.getItem(MARKS) ?? "{}");
}

export function startDoubts() {
  submitted("doubts-form", () => {
    byId("doubts").replaceChildren();
    cursor = null;
    more();
  });
  byId("more-doubts").addEventListener("click", more);
  byId("download").addEventListener("click", download);
  byId("forget-marks").addEventListener("click", () => {
    if (!confirm(`Forget all marks? ${byId("marked").textContent} What is not downloaded is lost.`)) return;
    localStorage.removeItem(MARKS);
    for (const button of byId("doubts").querySelectorAll("button[aria-pressed]")) button.setAttribute("aria-pressed", "false");
    count();
  });
}

export function openDoubts() {
  count();
  if (!byId("doubts").childElementCount) byId("doubts-form").requestSubmit();
}

async function more() {
  const below = Number(byId("score-below").value);
  byId("more-doubts").hidden = true;
  say("Looking…");
  try {
    let found = 0;
    do {
      const page = await ask("v1/images", { score_below: below, limit: PAGE, ...(cursor ? { cursor } : {}) });
      cursor = page.next_cursor;
      const items = page.images.map((image) => item(image, below)).filter(Boolean);
      byId("doubts").append(...items);
      found += items.length;
    } while (cursor && found < ENOUGH);
    const all = byId("doubts").querySelectorAll(".doubt").length;
    say(all ? `${all} mentions with a score below ${below}.` : `No mention has a score below ${below}.`);
    byId("more-doubts").hidden = !cursor;
  } catch (error) {
    say(error.message, true);
  }
}

/* An image's caption with its doubtful mentions; undefined where none stands in the caption. */
function item(image, below) {
  const placed = image.attributes.filter(({ start }) => start >= 0);
  const doubtful = placed.filter(({ score }) => score < below);
  if (!doubtful.length) return undefined;
  const rows = doubtful.map((mention) => make("tr", { class: "doubt" }, cell(quoted(image.caption, mention)), cell(concept(mention)), cell(assertion(mention)),
    cell(mention.rule), cell(mention.score.toFixed(2), "number"), cell(buttons(image, placed, mention), "marks")));
  const body = make("table", {}, make("thead", {}, make("tr", {}, ...["Words", "Concept", "Assertion", "Rule", "Score", "Mark"].map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows));
  return make("li", {}, make("p", {}, imageLink(image.image_id), ` ${image.caption}`), make("div", { class: "scroll" }, body));
}

/* The words with a little of what stands around them. */
function quoted(caption, { start, end }) {
  const characters = Array.from(caption);
  const before = characters.slice(Math.max(0, start - 24), start).join("");
  const after = characters.slice(end, end + 24).join("");
  return make("span", {}, `${start > 24 ? "…" : ""}${before}`, make("strong", {}, characters.slice(start, end).join("")), `${after}${characters.length > end + 24 ? "…" : ""}`);
}

const keyOf = ({ start, end, cui }) => `${start} ${end} ${cui}`;

function buttons(image, placed, mention) {
  const both = ["right", "wrong"].map((mark) => {
    const pressed = read()[image.image_id]?.marks[keyOf(mention)] === mark;
    return plainButton(mark, () => press(mark), { "aria-pressed": String(pressed), "aria-label": `${mention.text}: ${concept(mention)} is ${mark}` });
  });
  function press(mark) {
    const marks = read();
    const held = marks[image.image_id] ?? { caption: image.caption, mentions: placed.map(({ start, end, cui }) => [start, end, cui]), marks: {} };
    if (held.marks[keyOf(mention)] === mark) delete held.marks[keyOf(mention)];
    else held.marks[keyOf(mention)] = mark;
    if (Object.keys(held.marks).length) marks[image.image_id] = held;
    else delete marks[image.image_id];
    localStorage.setItem(MARKS, JSON.stringify(marks));
    both.forEach((button, at) => button.setAttribute("aria-pressed", String(held.marks[keyOf(mention)] === ["right", "wrong"][at])));
    count();
  }
  return make("div", { role: "group" }, ...both);
}

function count() {
  const held = Object.values(read());
  const marks = held.flatMap(({ marks: each }) => Object.values(each));
  const wrong = marks.filter((mark) => mark === "wrong").length;
  byId("marked").textContent = marks.length ? `${marks.length - wrong} marked right, ${wrong} wrong, in ${held.length} captions.` : "Nothing is marked.";
  byId("download").disabled = byId("forget-marks").disabled = !marks.length;
}

/* A line of the file: the caption with the spans that stand, those marked wrong left out. */
function label({ caption, mentions, marks }) {
  const spans = new Map();
  for (const [start, end, cui] of mentions) {
    if (marks[keyOf({ start, end, cui })] === "wrong") continue;
    const place = `${start} ${end}`;
    if (!spans.has(place)) spans.set(place, [start, end, []]);
    spans.get(place)[2].push(cui);
  }
  return JSON.stringify({ caption, spans: [...spans.values()] });
}

function download() {
  const lines = Object.values(read()).map((held) => `${label(held)}\n`);
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  make("a", { href: url, download: "labels.ndjson" }).click();
  URL.revokeObjectURL(url);
}

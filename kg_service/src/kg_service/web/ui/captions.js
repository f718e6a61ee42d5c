/* A caption, or an image of the graph, with its mentions, why each was found, its graph, and the images near it. */

import { address, assertion, byId, cell, clear, fill, goTo, imageLink, make, named, note, plainButton, say, submitted, table } from "./dom.js";
import { explained } from "./explanation.js";
import { drawComparison, drawGraph, startGraph } from "./neighbourhood.js";
import { picture } from "./pictures.js";
import { images, pageOf } from "./search.js";
import { ask, explanationOf, imageOf, imagePath, post } from "./service.js";

/* What is shown: {caption, facts, stored, mentions, id of a stored image}; `chosen` are positions in mentions. */
let shown = null;
let asked = 0;

/* Runs a request and shows what it gives; of several that overlap the last one counts. True where it is shown. */
async function run(what, request) {
  const turn = ++asked;
  say(`${what}…`);
  try {
    const result = await request();
    if (turn !== asked) return false;
    show(result);
    const count = result.mentions.length;
    say(count ? `${count} mention${count === 1 ? "" : "s"}.` : "No concept was found.");
    return true;
  } catch (error) {
    if (turn !== asked) return false;
    shown = null;
    byId("result").hidden = true;
    say(error.message, true);
    return false;
  }
}

async function linkText(text) {
  const answer = await post("v1/link", { captions: [text] });
  const [linked] = answer.results;
  return { caption: linked.caption, facts: `Linked by ${answer.linker}; nothing is stored.`, stored: false, mentions: linked.mentions };
}

async function showImage(id) {
  const image = await imageOf(id);
  const linkers = [...new Set(image.attributes.map((each) => each.linker))].sort();
  const facts = [
    `Image ${image.image_id}`, image.dataset && `dataset ${image.dataset}`, image.split && `split ${image.split}`,
    `stored ${image.ingested_at}`, linkers.length && `linked by ${linkers.join(", ")}`,
  ];
  const mentions = [...image.attributes].sort((a, b) => a.start - b.start || b.end - a.end || (a.cui < b.cui ? -1 : 1));
  return { id: image.image_id, caption: image.caption, facts: `${facts.filter(Boolean).join(", ")}.`, stored: true, mentions };
}

/* Cuts the caption where mentions begin and end. Offsets count code points, as Python does: 🫁 is one. */
function segments(characters, mentions) {
  const located = mentions.map((mention, at) => ({ ...mention, at })).filter((mention) => mention.start >= 0);
  const cuts = new Set([0, characters.length]);
  for (const { start, end } of located) cuts.add(start).add(end);
  const bounds = [...cuts].sort((a, b) => a - b);
  return bounds.slice(0, -1).map((start, i) => {
    const over = located.filter((mention) => mention.start <= start && bounds[i + 1] <= mention.end);
    over.sort((a, b) => a.end - a.start - (b.end - b.start) || a.at - b.at);
    return { start, text: characters.slice(start, bounds[i + 1]).join(""), over };
  });
}

function title(mention) {
  return mention.name || mention.cui;
}

function describe(mention) {
  return `${mention.text || "whole caption"}: ${title(mention)}, ${mention.assertion}, rule ${mention.rule}, score ${mention.score.toFixed(2)}`;
}

function captionPanel() {
  const spans = new Set();
  const parts = segments(Array.from(shown.caption), shown.mentions).map(({ start, text, over }) => {
    if (!over.length) return document.createTextNode(text);
    const lengths = new Set(over.map((mention) => mention.end - mention.start));
    const mark = make("mark", { class: `${over[0].assertion} depth${Math.min(lengths.size, 3)}`, title: over.map(describe).join("\n") }, text);
    mark.dataset.mentions = over.map((mention) => mention.at).join(" ");
    mark.classList.toggle("begins", over.some((mention) => mention.start === start));
    /* One stop of the Tab key for each mention, at its first piece; the table has them all again. */
    const own = over[0].at;
    if (!spans.has(own)) {
      spans.add(own);
      for (const [name, value] of Object.entries({ tabindex: "0", role: "button", "aria-label": over.map(describe).join("; ") })) {
        mark.setAttribute(name, value);
      }
    }
    const choose = () => chooseMentions(over.map((mention) => mention.at));
    mark.addEventListener("click", choose);
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
    return mark;
  });
  byId("caption").replaceChildren(...parts);
  byId("facts").textContent = shown.facts;
  byId("picture").replaceChildren(...(shown.stored ? [picture(shown.id, 192)] : []));
}

function mentionsPanel() {
  const rows = shown.mentions.map((mention, at) => {
    const button = plainButton(mention.text || "(whole caption)", () => chooseMentions([at]));
    const row = make("tr", {}, cell(button), cell(mention.cui), cell(mention.name), cell(assertion(mention)),
      cell(mention.rule), cell(mention.score.toFixed(2), "number"));
    row.dataset.mention = at;
    return row;
  });
  byId("mentions").replaceChildren(table(["Text", "CUI", "Name", "Assertion", "Rule", "Score"], rows));
}

function why(mention) {
  const facts = make("p", {}, `“${mention.text || shown.caption}” is `, make("strong", {}, title(mention)), ` (${mention.cui}), `,
    assertion(mention), `; rule ${mention.rule}, score ${mention.score.toFixed(2)}`,
    mention.groups.length ? `; semantic group ${mention.groups.join(", ")}.` : ".");
  if (shown.stored) return [facts];
  if (!mention.candidates.length) return [facts, note("No other concept was possible.")];
  const rows = mention.candidates.map((loser) =>
    make("tr", { class: "lost" }, cell(loser.cui), cell(loser.name), cell(loser.score.toFixed(2), "number")));
  return [facts, note("Other candidates, best first. The exactness of the rule and the centrality of the concept count before the score."), table(["CUI", "Name", "Score"], rows)];
}

function mentionPanel(chosen) {
  const parts = chosen.flatMap((at) => why(shown.mentions[at]));
  if (!parts.length) parts.push(note("Choose a mention."));
  if (chosen.length && shown.stored) {
    const again = plainButton("Link this caption now", () => {
      byId("text").value = shown.caption;
      byId("text-form").requestSubmit();
    });
    parts.push(note("The graph does not keep the other candidates. ", again));
  }
  byId("mention").replaceChildren(...parts);
}

function conceptsPanel() {
  const concepts = new Map();
  for (const mention of shown.mentions) {
    const seen = concepts.get(mention.cui) || { ...mention, assertions: new Set() };
    seen.assertions.add(mention.assertion);
    concepts.set(mention.cui, seen);
  }
  const rows = [...concepts.values()].map((concept) => make("tr", {}, cell(concept.cui), cell(concept.name),
    cell(concept.groups.join(", ")), cell([...concept.assertions].sort().join(", "))));
  byId("concepts").replaceChildren(table(["CUI", "Name", "Group", "Assertion"], rows));
}

async function nearestTo(id) {
  const answer = await ask(`${imagePath(id)}/neighbours`);
  if (!answer.neighbours.length) return [note(answer.has_knowledge ? "No other image is similar to it." : "It has no concept in the snapshot.")];
  const rows = answer.neighbours.map((neighbour) => {
    const other = neighbour.image_id;
    const reason = plainButton("Why", () => compare(other), { "aria-label": `Why ${other} is similar` });
    return make("tr", {}, cell(make("div", { class: "pictured" }, picture(other, 56), imageLink(other))), cell(neighbour.similarity.toFixed(3), "number"),
      cell(named(neighbour.shared) + (neighbour.same_caption ? " (same caption)" : "")), cell(reason));
  });
  return [table(["Image", "Similarity", "Concepts of both", "Explanation"], rows)];
}

function compare(other) {
  goTo(address("captions", shown.id, { with: other }));
}

function explain(other) {
  byId("other").value = other;
  const id = shown.id;
  fill("explanation", async () => {
    const answer = await explanationOf(id, other);
    if (shown?.id === id) drawComparison(answer);
    return explained(answer);
  });
}

function similarPanels() {
  for (const panel of document.querySelectorAll(".similar")) panel.hidden = !shown.stored;
  clear("neighbours");
  clear("explanation");
  const id = shown.id;
  if (shown.stored) fill("neighbours", () => nearestTo(id));
}

/* Filled anew with each result; mentionPanel also with each choice. */
const panels = [captionPanel, mentionsPanel, conceptsPanel, () => chooseMentions([]), similarPanels, () => drawGraph(shown)];

function show(result) {
  shown = result;
  byId("result").hidden = false;
  for (const panel of panels) panel();
}

function chooseMentions(chosen) {
  for (const mark of byId("caption").querySelectorAll("mark")) {
    mark.classList.toggle("chosen", mark.dataset.mentions.split(" ").some((at) => chosen[0] === Number(at)));
  }
  for (const row of byId("mentions").querySelectorAll("tbody tr")) row.classList.toggle("chosen", chosen.includes(Number(row.dataset.mention)));
  mentionPanel(chosen);
}

export function startCaptions() {
  submitted("text-form", () => {
    const text = byId("text").value;
    run("Linking", () => linkText(text));
  });
  submitted("image-form", () => goTo(address("captions", byId("image").value.trim())));
  submitted("other-form", () => compare(byId("other").value.trim()));
  byId("browse").addEventListener("toggle", () => {
    if (byId("browse").open) fill("all-images", () => pageOf(images, {}));
  });
  startGraph();
}

/* Shows the image of this id, compared with another one where the address has it; without an id, what was shown. */
export async function openCaptions({ what: id, parameters }) {
  if (!id) return;
  byId("image").value = id;
  const other = parameters.get("with");
  if (other && shown?.id === id) asked += 1; // What is asked for still is not to be shown in its place.
  else if (!(await run("Looking", () => showImage(id)))) return;
  if (other) explain(other);
}

/* The target matrix of a batch as a heat map; a cell says its value, and why. */

import { address, byId, cell, clear, colour, fill, goTo, imageLink, make, note, plainButton, say, submitted, table } from "./dom.js";
import { explained } from "./explanation.js";
import { ask, explanationOf, imagePath, post } from "./service.js";
import { onTheme } from "./theme.js";

const LARGEST_PX = 640;
const MOST_IMAGES = 128;
const SAMPLE = 24;
const SHOWN_OF_A_ROW = 15;
const LEAST_TO_READ_PX = 11;
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/* {ids, values, similarities, hasKnowledge, parameters, largest}, and the cell that is chosen. */
let matrix = null;
let at = [0, 0];
let asked = 0;

export function startTargets() {
  submitted("targets-form", () => {
    const ids = idsOf(byId("batch").value);
    if (ids.length) goTo(address("targets", ids, { knowledge: byId("variant").value, mass: byId("mass").value }));
    else tooFew();
  });
  byId("sample").addEventListener("click", () => sampled("Taking images", firstImages));
  byId("batch-near").addEventListener("click", () => sampled("Looking for its neighbours", nearImages));
  const canvas = byId("matrix");
  canvas.addEventListener("pointermove", (event) => choose(under(event)));
  canvas.addEventListener("click", (event) => {
    choose(under(event));
    explainCell();
  });
  canvas.addEventListener("keydown", onKey);
  byId("matrix-row").addEventListener("change", () => choose([Number(byId("matrix-row").value), at[1]]));
  onTheme(paint);
  addEventListener("resize", () => {
    if (!byId("targets-result").hidden && !byId("targets-view").hidden) frame();
  });
}

/* Shows the batch of the address, with its knowledge and mass; without a batch, what was shown. */
export async function openTargets({ several, parameters }) {
  const turn = ++asked;
  if (several.length) byId("batch").value = several.join("\n");
  if (parameters.has("mass")) byId("mass").value = parameters.get("mass");
  await findVariants();
  if (turn !== asked || !several.length || !byId("variant").options.length) return;
  const wanted = parameters.get("knowledge");
  if (wanted && ![...byId("variant").options].some(({ value }) => value === wanted)) {
    byId("targets-result").hidden = true;
    say(`The current snapshot has no ${wanted}: choose among its knowledge.`, true);
    return;
  }
  if (wanted) byId("variant").value = wanted;
  await showTargets([...new Set(several)], turn);
}

async function findVariants() {
  if (byId("variant").options.length) return;
  try {
    const { snapshots } = await ask("v1/snapshots", { limit: 1 });
    const variants = Object.keys(snapshots.find((each) => each.current)?.manifest.variants ?? {});
    byId("variant").replaceChildren(...variants.map((name) => make("option", {}, name)));
    byId("variant").value = variants.includes("hybrid/dk_ek") ? "hybrid/dk_ek" : variants[0] ?? "";
    if (!variants.length) say("There is no snapshot to take targets from.", true);
  } catch (error) {
    say(error.message, true);
  }
}

function idsOf(text) {
  return [...new Set(text.split(/[\n,;]+/).map((each) => each.trim()).filter(Boolean))];
}

async function sampled(what, request) {
  say(`${what}…`);
  try {
    byId("batch").value = (await request()).join("\n");
    say("");
    byId("targets-form").requestSubmit();
  } catch (error) {
    say(error.message, true);
  }
}

/* Of the snapshot, which a service that only reads has, too. */
async function firstImages() {
  const { snapshot } = await ask("v1/info");
  if (!snapshot) throw new Error("There is no snapshot to take images from.");
  const { image_ids: ids } = await ask(`v1/snapshots/${snapshot}/images`, { limit: SAMPLE });
  return ids;
}

async function nearImages() {
  const [id] = idsOf(byId("batch").value);
  if (!id) throw new Error("Write an image id first.");
  const { neighbours } = await ask(`${imagePath(id)}/neighbours`, { k: SAMPLE - 1 });
  return [id, ...neighbours.map((each) => each.image_id)];
}

function tooFew() {
  say("A batch has two images or more.", true);
}

/* Of several batches that are asked for the last one is shown; the chosen cell stays where the images do. */
async function showTargets(ids, turn) {
  clear("cell-why");
  byId("targets-result").hidden = true;
  if (ids.length < 2) return tooFew();
  if (ids.length > MOST_IMAGES) return say(`${ids.length} images: the picture takes ${MOST_IMAGES} at most.`, true);
  const [representation, knowledge] = byId("variant").value.split("/");
  const parameters = { representation, knowledge };
  say("Asking for targets…");
  try {
    const mass = Number(byId("mass").value);
    const [targets, similarities] = await Promise.all([
      post("v1/targets", { image_ids: ids, ...parameters, neighbour_mass: mass }),
      post("v1/targets", { image_ids: ids, ...parameters, output: "similarity" }),
    ]);
    if (turn !== asked) return undefined;
    if (matrix?.ids.join("\n") !== ids.join("\n")) at = [0, 0];
    const beside = targets.values.flatMap((row, r) => row.filter((_, c) => c !== r));
    matrix = { ids, values: targets.values, similarities: similarities.values, hasKnowledge: targets.has_knowledge, parameters, largest: Math.max(...beside) };
    byId("matrix-row").replaceChildren(...ids.map((id, r) => make("option", { value: r }, id)));
    byId("targets-result").hidden = false;
    const alone = targets.has_knowledge.filter((each) => !each).length;
    say(`${ids.length} images; the largest target beside the diagonal is ${matrix.largest.toFixed(3)}${alone ? `; ${alone} without a concept` : ""}.`);
    edges();
    paint();
    byId("matrix-table").replaceChildren();
    choose(at);
  } catch (error) {
    if (turn === asked) say(error.message, true);
  }
  return undefined;
}

function side() {
  return Math.max(4, Math.min(26, Math.floor(LARGEST_PX / matrix.ids.length)));
}

function channels(text) {
  return text.match(/[\d.]+/g).slice(0, 3).map(Number);
}

/* From the background to the accent colour; a square root lets small targets be seen. */
function shade(share, [from, to]) {
  const way = Math.sqrt(Math.min(1, Math.max(0, share)));
  return `rgb(${from.map((channel, i) => Math.round(channel + way * (to[i] - channel))).join(" ")})`;
}

function paint() {
  if (!matrix) return;
  const canvas = byId("matrix");
  const size = side();
  canvas.width = canvas.height = size * matrix.ids.length;
  const pen = canvas.getContext("2d");
  const ends = [channels(colour("panel")), channels(colour("accent"))];
  const own = colour("edge");
  matrix.values.forEach((row, r) => row.forEach((value, c) => {
    pen.fillStyle = r === c ? own : shade(value / (matrix.largest || 1), ends);
    pen.fillRect(c * size, r * size, size - (size > 6), size - (size > 6));
  }));
  const scale = byId("scale").getContext("2d");
  for (let x = 0; x < byId("scale").width; x += 1) {
    scale.fillStyle = shade(x / byId("scale").width, ends);
    scale.fillRect(x, 0, 1, byId("scale").height);
  }
  byId("scale-end").textContent = matrix.largest.toFixed(3);
  frame();
}

/* The ids at both edges; hovering over one says it whole. */
function edges() {
  for (const edge of ["matrix-rows", "matrix-columns"]) {
    byId(edge).replaceChildren(...matrix.ids.map((id) => make("span", { title: id }, id)));
  }
}

/* Ids are there to be read, or not at all. */
function showEdges(size) {
  for (const [edge, place] of [["matrix-rows", at[0]], ["matrix-columns", at[1]]]) {
    byId(edge).hidden = size < LEAST_TO_READ_PX;
    byId(edge).style.fontSize = `${Math.min(12, size - 1)}px`;
    [...byId(edge).children].forEach((id, i) => id.classList.toggle("chosen", i === place));
  }
}

function frame() {
  if (!matrix) return;
  const size = side();
  const mark = byId("matrix-cell");
  const zoomed = () => byId("matrix").clientWidth / byId("matrix").width || 1;
  showEdges(size * zoomed());
  const zoom = zoomed();
  Object.assign(mark.style, { left: `${at[1] * size * zoom}px`, top: `${at[0] * size * zoom}px`, width: `${size * zoom}px`, height: `${size * zoom}px` });
}

function under(event) {
  const { left, top, width } = byId("matrix").getBoundingClientRect();
  const count = matrix.ids.length;
  const place = (offset) => Math.min(count - 1, Math.max(0, Math.floor((offset / width) * count)));
  return [place(event.clientY - top), place(event.clientX - left)];
}

function onKey(event) {
  const last = matrix.ids.length - 1;
  if (event.key in MOVES) {
    const [down, right] = MOVES[event.key];
    choose([Math.min(last, Math.max(0, at[0] + down)), Math.min(last, Math.max(0, at[1] + right))]);
  } else if (event.key === "Enter" || event.key === " ") explainCell();
  else return;
  event.preventDefault();
}

function choose(cellAt) {
  const newRow = cellAt[0] !== at[0] || !byId("matrix-table").childElementCount;
  at = cellAt;
  const [r, c] = at;
  const { ids, values, similarities } = matrix;
  byId("matrix-value").replaceChildren(make("strong", {}, values[r][c].toFixed(4)),
    ` of ${ids[r]}'s row goes to ${r === c ? "itself" : ids[c]}; their similarity is ${similarities[r][c].toFixed(3)}. Row ${r + 1}, column ${c + 1} of ${ids.length}.`);
  byId("matrix-row").value = String(r);
  frame();
  if (newRow || Number(byId("matrix-table").dataset.row) !== r) rowTable(r);
}

/* exp(entropy) of what a row gives to others. */
function effective(row, r) {
  const others = row.filter((value, c) => c !== r && value > 0);
  const sum = others.reduce((total, value) => total + value, 0);
  return Math.exp(-others.reduce((total, value) => total + (value / sum) * Math.log(value / sum), 0));
}

function rowTable(r) {
  const { ids, values, similarities, hasKnowledge } = matrix;
  const order = ids.map((_, c) => c).filter((c) => values[r][c] > 0).sort((a, b) => values[r][b] - values[r][a]);
  const given = 1 - values[r][r];
  const facts = !hasKnowledge[r] ? "It has no concept in the snapshot: all of its mass stays with itself."
    : given < 1e-6 ? "No other image of the batch is similar enough: all of its mass stays with itself."
      : `${given.toFixed(3)} of its mass goes to others, as if to ${effective(values[r], r).toFixed(1)} of them evenly.`;
  const rows = order.slice(0, SHOWN_OF_A_ROW).map((c) => make("tr", {}, cell(imageLink(ids[c])), cell(values[r][c].toFixed(4), "number"),
    cell(similarities[r][c].toFixed(3), "number"), cell(c === r ? "" : whyButton(r, c))));
  byId("matrix-table").dataset.row = r;
  byId("matrix-table").replaceChildren(note(facts), table(["Image", "Target", "Similarity", "Explanation"], rows, `Row of ${ids[r]}`),
    ...(order.length > SHOWN_OF_A_ROW ? [note(`${order.length - SHOWN_OF_A_ROW} smaller ones are not listed.`)] : []));
}

function whyButton(r, c) {
  return plainButton("Why", () => {
    choose([r, c]);
    explainCell();
  }, { "aria-label": `Why ${matrix.ids[r]} is similar to ${matrix.ids[c]}` });
}

function explainCell() {
  const [id, other] = at.map((place) => matrix.ids[place]);
  fill("cell-why", async () => explained(await explanationOf(id, other, matrix.parameters)));
}

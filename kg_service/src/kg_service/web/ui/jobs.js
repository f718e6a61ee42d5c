/* Snapshots and jobs; those that run are asked for again until they are over. */

import { byId, cell, fill, make, note, plainButton, table } from "./dom.js";
import { ask } from "./service.js";

const AGAIN_MS = 1000;
const PAGE = 20;
let timer;

export function startJobs() {
  byId("refresh").addEventListener("click", openJobs);
}

export function openJobs() {
  clearTimeout(timer);
  fill("jobs", jobs);
  fill("snapshots", snapshots);
}

function percent(job) {
  const share = job.fraction ?? 0;
  const bar = make("progress", { max: 1, "aria-label": `Progress of job ${job.id.slice(0, 8)}` });
  if (job.fraction !== null) bar.value = share;
  return make("span", { class: "progress" }, bar, ` ${job.fraction === null ? "" : `${Math.round(100 * share)} %`}`);
}

function said(job) {
  const counts = Object.entries(job.counts).map(([outcome, number]) => `${number} ${outcome}`);
  const parts = [job.stage, job.rows ? `${job.rows} rows` : "", ...counts, job.bad_rows ? `${job.bad_rows} bad` : "",
    job.eta_seconds === null ? "" : `${Math.round(job.eta_seconds)} s left`, job.error, job.hint];
  const text = parts.filter(Boolean).join(", ");
  if (!job.problems.length) return text;
  const items = job.problems.map(({ line, reason }) => make("li", {}, `line ${line}: ${reason}`));
  return make("div", {}, text, make("details", {}, make("summary", {}, "Problems"), make("ul", {}, ...items)));
}

async function jobs() {
  const { jobs: found } = await ask("v1/jobs", { limit: PAGE });
  const before = byId("jobs").dataset.running;
  const running = found.filter(({ state }) => state === "queued" || state === "running");
  byId("jobs").dataset.running = running.map(({ id }) => id).join(" ");
  /* What has ended may have made a snapshot. */
  if (before && before !== byId("jobs").dataset.running) fill("snapshots", snapshots);
  if (running.length && !byId("jobs-view").hidden) timer = setTimeout(again, AGAIN_MS);
  if (!found.length) return [note("No job was ordered.")];
  const rows = found.map((job) => make("tr", {}, cell(job.kind), cell(job.state), cell(job.created_at.slice(0, 19).replace("T", " ")), cell(percent(job)),
    cell(`${job.seconds.toFixed(1)} s`, "number"), cell(said(job)), cell(job.snapshot ? job.snapshot.slice(0, 12) : "")));
  return [table(["Kind", "State", "Ordered (UTC)", "Progress", "Worked", "Says", "Snapshot"], rows)];
}

/* As `fill`, without emptying what is read meanwhile. */
async function again() {
  if (byId("jobs-view").hidden) return;
  const parts = await jobs().catch((error) => [make("p", { class: "note failed" }, error.message)]);
  byId("jobs").replaceChildren(...parts);
}

async function snapshots() {
  const { snapshots: found, damaged } = await ask("v1/snapshots", { limit: PAGE });
  if (!found.length && !damaged.length) return [note("No snapshot is published: kg-service snapshot publish makes one.")];
  const rows = found.map(({ id, current, manifest }) => make("tr", current ? { class: "chosen" } : {},
    cell(idCell(id)), cell(current ? "current" : ""), cell([manifest.dataset, manifest.split].filter(Boolean).join(", ") || "all"),
    cell(manifest.images.toLocaleString("en"), "number"), cell(manifest.images_with_knowledge.toLocaleString("en"), "number"),
    cell(manifest.concepts.toLocaleString("en"), "number"), cell(manifest.is_a_edges.toLocaleString("en"), "number"),
    cell(Object.keys(manifest.variants).join(", ")), cell(changes(manifest))));
  const lost = damaged.map((id) => make("tr", {}, cell(idCell(id)), cell("damaged"), ...Array.from({ length: 7 }, () => cell(""))));
  return [table(["Snapshot", "Served", "Of", "Images", "With concepts", "Concepts", "is_a", "Knowledge", "Remarks"], [...rows, ...lost])];
}

function idCell(id) {
  return make("details", {}, make("summary", {}, make("code", {}, id.slice(0, 12))), make("code", { class: "whole" }, id),
    plainButton("Copy", () => navigator.clipboard.writeText(id), { "aria-label": `Copy ${id.slice(0, 12)}` }));
}

function changes(manifest) {
  return [manifest.appended && `${manifest.appended.images} images appended`, manifest.is_a && `is_a ${manifest.is_a.kind}`,
    manifest.relations && `relations ${manifest.relations.kind}`, manifest.rarest_concepts && `${manifest.rarest_concepts} rarest concepts`].filter(Boolean).join(", ");
}

/* Why two images are similar: the answer of /v1/explain, part by part. */

import { cell, imageLink, make, named, table } from "./dom.js";

export function sums(answer) {
  return Object.entries(answer.parts).map(([kind, share]) => `${share.toFixed(3)} by ${kind}`).join(" + ");
}

export function explained(answer) {
  const [id, other] = [answer.image.image_id, answer.other.image_id];
  const by = sums(answer);
  const head = make("p", {}, imageLink(id), " and ", imageLink(other), ": similarity ", make("strong", {}, answer.similarity.toFixed(3)),
    `${by && " = "}${by}. ${answer.notes.join(" ")}`);
  const parts = answer.contributions.map((part) => make("tr", {}, cell(part.share.toFixed(3), "number"),
    cell(part.kind === "rest" ? `${part.count} smaller parts` : part.kind), cell(part.concept ? named([part.concept]) : ""),
    cell(named(part.concepts)), cell(named(part.other_concepts))));
  const ancestors = answer.nearest_common_ancestors.map((ancestor) => make("tr", {}, cell(named([ancestor])),
    cell(String(ancestor.steps), "number"), cell(String(ancestor.other_steps), "number"),
    cell(ancestor.share ? ancestor.share.toFixed(3) : "none", "number")));
  const relations = answer.relations.map((edge) => make("tr", {},
    cell(`${named([edge.subject])} —${edge.relation}→ ${named([edge.target])}`)));
  return [
    head,
    ...(parts.length ? [table(["Share", "By", "Concept", `Through ${id}'s`, `Through ${other}'s`], parts)] : []),
    ...(ancestors.length ? [table(["Nearest common ancestor", `Steps from ${id}`, `Steps from ${other}`, "Share"], ancestors)] : []),
    ...(relations.length ? [table(["Relations by which they meet"], relations)] : []),
  ];
}
